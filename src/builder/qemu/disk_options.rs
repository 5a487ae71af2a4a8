//! The disks of a machine and what becomes of them.

use std::path::Path;

use serde::Deserialize;

use super::options::{one_of, wrong};
use super::places::CDROM_INTERFACES;
use crate::engine::Bytes;
use crate::error::Result;
use crate::host::qemu_img::DiskFormat;

/// A machine's disks. Names are Packer's.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiskOptions {
    /// Whether the disk is an overlay on `source_image` instead of a copy of it. Default true.
    pub use_backing_file: Option<bool>,
    /// The disk's size. Default: the image's own; `"40G"` for an installation on an empty disk.
    pub disk_size: Option<Bytes>,
    /// How the disk is attached: `virtio` (default), `virtio-scsi`, `ide`, `sata` or `scsi`.
    pub disk_interface: Option<String>,
    /// How CDs are attached: `ide`, `sata`, `scsi`, `virtio-scsi` or `virtio`. Default `ide`; `virtio-scsi` where the machine
    /// is no PC.
    pub cdrom_interface: Option<String>,
    /// QEMU's cache mode for the disk. Default `unsafe`: a build that the host's crash interrupts starts over anyway.
    pub disk_cache: Option<String>,
    /// `unmap` (default) or `ignore`: whether space the guest gives up is given up on the host.
    pub disk_discard: Option<String>,
    /// `unmap` (default), `on` or `off`: whether blocks of zeroes written are stored as holes.
    pub disk_detect_zeroes: Option<String>,
    /// The sizes of further disks, which are empty at first.
    pub disk_additional_size: Vec<Bytes>,
    /// Whether the disk keeps the size of `source_image`, whatever `disk_size` says.
    pub skip_resize_disk: bool,
    /// Whether `vm:finish` leaves out its `compact`. Default false.
    pub skip_compaction: bool,
    /// Whether `vm:finish` compresses the image's clusters. Default false.
    pub disk_compression: bool,
    /// The format of the finished image: `qcow2` (default), `raw`, `vmdk`, `vdi` or `vhdx`.
    pub format: Option<String>,
    /// Further arguments for `qemu-img`.
    pub qemu_img_args: QemuImgArgs,
}

/// Further arguments for each command of `qemu-img`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QemuImgArgs {
    /// When a disk is made.
    pub create: Vec<String>,
    /// When a disk is copied, at the start and at the end.
    pub convert: Vec<String>,
    /// When a disk is enlarged.
    pub resize: Vec<String>,
}

const DISK_INTERFACES: [&str; 5] = ["virtio", "virtio-scsi", "ide", "sata", "scsi"];
const DISCARDS: [&str; 2] = ["unmap", "ignore"];
const DETECTS: [&str; 3] = ["unmap", "on", "off"];
const CACHES: [&str; 5] = ["unsafe", "writeback", "writethrough", "none", "directsync"];

impl DiskOptions {
    /// Returns what the disk is attached to, virtio unless said otherwise.
    pub fn disk_interface(&self) -> &str {
        self.disk_interface.as_deref().unwrap_or("virtio")
    }

    /// Returns the number of disks.
    pub fn count(&self) -> usize {
        1 + self.disk_additional_size.len()
    }

    /// Returns the cache mode, what becomes of space given up, and of zeroes written.
    pub fn modes(&self) -> (&str, &str, &str) {
        let discard = self.disk_discard.as_deref().unwrap_or("unmap");
        let zeroes = match self.disk_detect_zeroes.as_deref() {
            None if discard == "ignore" => "on",
            None => "unmap",
            Some(said) => said,
        };
        (self.disk_cache.as_deref().unwrap_or("unsafe"), discard, zeroes)
    }

    /// Returns what `blockdev-add` needs to open a further layer of a disk, as the first one was opened on the command line.
    pub fn node(&self, name: &str, file: &Path) -> serde_json::Value {
        let (cache, discard, zeroes) = self.modes();
        let cache = serde_json::json!({
            "direct": matches!(cache, "none" | "directsync"),
            "no-flush": cache == "unsafe",
        });
        serde_json::json!({
            "driver": "qcow2",
            "node-name": name,
            "file": { "driver": "file", "filename": file, "cache": cache, "discard": discard },
            "cache": cache,
            "discard": discard,
            "detect-zeroes": zeroes,
            "backing": null,
        })
    }

    /// Checks what can be known before anything starts.
    pub fn validate(&self) -> Result<()> {
        one_of("disk_interface", self.disk_interface.as_deref(), &DISK_INTERFACES)?;
        one_of("cdrom_interface", self.cdrom_interface.as_deref(), &CDROM_INTERFACES)?;
        one_of("disk_discard", self.disk_discard.as_deref(), &DISCARDS)?;
        one_of("disk_detect_zeroes", self.disk_detect_zeroes.as_deref(), &DETECTS)?;
        one_of("disk_cache", self.disk_cache.as_deref(), &CACHES)?;
        if let Some(format) = &self.format {
            let format = DiskFormat::parse(format).map_err(|e| e.within("option `format`"))?;
            if self.disk_compression && !format.compresses() {
                return Err(wrong(
                    "disk_compression",
                    format!("{} images cannot be compressed inside", format.as_str()),
                ));
            }
        }
        for (name, size) in self
            .disk_size
            .iter()
            .map(|size| ("disk_size", size))
            .chain(self.disk_additional_size.iter().map(|size| ("disk_additional_size", size)))
        {
            if size.0 == 0 {
                return Err(wrong(name, "a disk of no size"));
            }
        }
        Ok(())
    }
}
