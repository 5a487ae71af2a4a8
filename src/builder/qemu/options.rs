//! The options of `rimg.qemu{…}`.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::places::{Board, CDROM_INTERFACES};
use super::source::{Document, ImageSource};
use crate::engine::{BuildCx, Bytes, Seconds};
use crate::error::{Error, Kind, Result, io_error};
use crate::host::process;
use crate::media::checksum::Checksum;

/// What makes the guest's processor run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// The host's own, where it works, else `tcg`.
    #[default]
    Auto,
    Kvm,
    Hvf,
    Whpx,
    Nvmm,
    Xen,
    /// Emulation: works everywhere, 5 to 20 times slower.
    Tcg,
    /// Nothing is said to QEMU about it.
    None,
}

impl Accelerator {
    /// Returns QEMU's name for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Accelerator::Auto => "auto",
            Accelerator::Kvm => "kvm",
            Accelerator::Hvf => "hvf",
            Accelerator::Whpx => "whpx",
            Accelerator::Nvmm => "nvmm",
            Accelerator::Xen => "xen",
            Accelerator::Tcg => "tcg",
            Accelerator::None => "none",
        }
    }
}

/// The options of a QEMU machine; those of its SSH connection stand beside them in the same table.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QemuOptions {
    /// The disk image to start from: a path, a URL, or an artifact. Required unless a medium (`iso_url`) is given.
    pub source_image: Option<ImageSource>,
    /// The image's checksum, `sha256:…` or `file:URL`. Required for a URL.
    pub source_checksum: Option<String>,
    /// Whether the disk is an overlay on `source_image` instead of a copy of it. Default true.
    pub use_backing_file: Option<bool>,
    /// Processors. Default 2.
    pub cpus: Option<u32>,
    /// Memory. Default `"1G"`.
    pub memory: Option<Bytes>,
    /// The disk's size. Default: the image's own; `"40G"` for an installation on an empty disk.
    pub disk_size: Option<Bytes>,
    /// QEMU's machine type. Default `pc`; `virt` on ARM.
    pub machine_type: Option<String>,
    /// QEMU's processor model. Default `host`, or `max` (on x86-64 without la57) when emulating.
    pub cpu_model: Option<String>,
    /// The network card's model. Default `virtio-net`.
    pub net_device: Option<String>,
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
    /// Whether no window is shown. Default true.
    pub headless: Option<bool>,
    /// QEMU's display (`gtk`, `sdl`, `vnc=:1`, `none`), which has precedence over `headless`.
    pub display: Option<String>,
    /// Arguments for QEMU, `{ { "-device", "virtio-rng" }, … }`. They replace rimg's own of the same flag, apart from
    /// what rimg needs to watch the machine. `{{ .SSHHostPort }}`, `{{ .OutputDir }}` and `{{ .Name }}` are filled in.
    pub qemuargs: Vec<Vec<String>>,
    /// The QEMU program. Default `qemu-system-x86_64`.
    pub qemu_binary: Option<String>,
    /// `auto` (default), `kvm`, `tcg`, `hvf`, `whpx`, `nvmm`, `xen` or `none`.
    pub accelerator: Option<Accelerator>,
    /// The machine's name, also of the finished image. Default: the build's name.
    pub vm_name: Option<String>,
    /// The command that shuts the guest down, `sudo poweroff`. Default: the ACPI power button.
    pub shutdown_command: Option<String>,
    /// How long the shutdown may take. Default `"5m"`.
    pub shutdown_timeout: Option<Seconds>,
    /// cloud-init user data: a table (of `#cloud-config`), text, or a file's path.
    pub user_data: Option<Document>,
    /// cloud-init metadata: a table, text, or a file's path.
    pub meta_data: Option<Document>,
    /// cloud-init network configuration: a table, text, or a file's path.
    pub network_config: Option<Document>,
    /// A file that keeps what the guest says on its serial console.
    pub serial_log: Option<PathBuf>,
}

const DISK_INTERFACES: [&str; 5] = ["virtio", "virtio-scsi", "ide", "sata", "scsi"];
const DISCARDS: [&str; 2] = ["unmap", "ignore"];
const DETECTS: [&str; 3] = ["unmap", "on", "off"];
const CACHES: [&str; 5] = ["unsafe", "writeback", "writethrough", "none", "directsync"];

impl QemuOptions {
    /// Returns the number of processors, 2 unless said otherwise.
    pub fn cpus(&self) -> u32 {
        self.cpus.unwrap_or(2)
    }

    /// Returns the memory in mebibytes.
    pub fn memory_mib(&self) -> u64 {
        self.memory.map_or(1024, Bytes::mebibytes)
    }

    /// Returns the program to run, by name or path.
    pub fn binary(&self) -> &str {
        self.qemu_binary.as_deref().unwrap_or("qemu-system-x86_64")
    }

    /// Returns the guest's architecture as QEMU names it, from the program's name.
    pub fn architecture(&self) -> &str {
        let name = Path::new(self.binary()).file_name().and_then(|name| name.to_str()).unwrap_or_default();
        match name.strip_prefix("qemu-system-") {
            Some("i386") => "i686",
            Some(architecture) => architecture,
            None => std::env::consts::ARCH,
        }
    }

    /// Tells whether the guest is a PC, with what rimg watches on one.
    pub fn is_pc(&self) -> bool {
        matches!(self.architecture(), "x86_64" | "i686")
            && !self.machine_type().starts_with("microvm")
            && !self.machine_type().starts_with("isapc")
    }

    /// Returns QEMU's name of the machine type; empty leaves it to QEMU.
    pub fn machine_type(&self) -> &str {
        self.machine_type.as_deref().unwrap_or(match self.architecture() {
            "aarch64" | "arm" | "riscv64" => "virt",
            "x86_64" | "i686" => "pc",
            _ => "",
        })
    }

    /// Returns the network device, virtio-net unless said otherwise.
    pub fn net_device(&self) -> &str {
        self.net_device.as_deref().unwrap_or("virtio-net")
    }

    /// Returns what the disk is attached to, virtio unless said otherwise.
    pub fn disk_interface(&self) -> &str {
        self.disk_interface.as_deref().unwrap_or("virtio")
    }

    /// Returns what CDs are attached to.
    pub fn cdrom_interface(&self) -> &str {
        self.cdrom_interface.as_deref().unwrap_or(match self.board() {
            Board::None => "virtio-scsi",
            Board::Ide | Board::Sata => "ide",
        })
    }

    /// Returns the controller of disks and CDs that the machine has on its board.
    pub fn board(&self) -> Board {
        match self.is_pc() {
            true if self.machine_type().contains("q35") => Board::Sata,
            true => Board::Ide,
            false => Board::None,
        }
    }

    /// Returns the machine's name; the build's unless said otherwise.
    pub fn vm_name<'a>(&'a self, cx: &'a BuildCx) -> &'a str {
        self.vm_name.as_deref().unwrap_or(&cx.build)
    }

    /// Tells whether the script gives anything to cloud-init.
    pub fn has_seed(&self) -> bool {
        self.user_data.is_some() || self.meta_data.is_some() || self.network_config.is_some()
    }

    /// Checks what can be known without touching anything; returns warnings.
    pub fn validate(&self, cx: &BuildCx) -> Result<Vec<String>> {
        let mut warnings = Vec::new();
        match &self.source_image {
            // An installation starts with an empty disk; the builder knows whether it is one.
            None => {}
            Some(ImageSource::Path(path)) => {
                let path = cx.settings.resolve(path);
                // In a check, another build's output is not there yet; it comes as an artifact, never as a path.
                let meta = std::fs::metadata(&path).map_err(|e| missing("source_image", &path, e))?;
                if !meta.is_file() && cfg!(unix) && meta.is_dir() {
                    return Err(wrong("source_image", format!("{} is a folder", path.display())));
                }
            }
            Some(ImageSource::Url(_)) if self.source_checksum.is_none() => {
                return Err(wrong("source_checksum", "is required for a download")
                    .hint("source_checksum = \"sha256:…\", or \"file:URL\" of the publisher's checksum file")
                    .hint("source_checksum = \"none\" downloads without checking"));
            }
            Some(ImageSource::Artifact(artifact)) if cx.settings.is_live() => {
                let path = ImageSource::artifact_image(artifact)?;
                std::fs::metadata(&path).map_err(|e| missing("source_image", &path, e))?;
            }
            Some(ImageSource::Url(_) | ImageSource::Artifact(_)) => {}
        }
        if let Some(checksum) = &self.source_checksum {
            Checksum::parse(checksum).map_err(|e| e.within("option `source_checksum`"))?;
        }
        if self.cpus() == 0 {
            return Err(wrong("cpus", "expected at least 1, found 0"));
        }
        if self.memory_mib() < 16 {
            return Err(wrong("memory", format!("{} MiB are too little for any system", self.memory_mib()))
                .hint("a bare number counts mebibytes: `memory = 1024` or `memory = \"1G\"`"));
        }
        one_of("disk_interface", self.disk_interface.as_deref(), &DISK_INTERFACES)?;
        one_of("cdrom_interface", self.cdrom_interface.as_deref(), &CDROM_INTERFACES)?;
        if self.cdrom_interface() == "ide" && self.board() == Board::None {
            return Err(wrong("cdrom_interface", format!("a machine of type {:?} has no IDE", self.machine_type()))
                .hint("leave it out, or use \"virtio-scsi\""));
        }
        one_of("disk_discard", self.disk_discard.as_deref(), &DISCARDS)?;
        one_of("disk_detect_zeroes", self.disk_detect_zeroes.as_deref(), &DETECTS)?;
        one_of("disk_cache", self.disk_cache.as_deref(), &CACHES)?;
        for (name, text) in [
            ("machine_type", &self.machine_type),
            ("cpu_model", &self.cpu_model),
            ("net_device", &self.net_device),
            ("display", &self.display),
        ] {
            if text.as_deref().is_some_and(str::is_empty) {
                return Err(wrong(name, "is empty"));
            }
        }
        if let Some(name) = &self.vm_name
            && (name.is_empty() || name.contains(['/', '\0', ',']) || name.starts_with('.'))
        {
            return Err(wrong("vm_name", format!("{name:?} cannot be the name of a machine and its image")));
        }
        for (index, group) in self.qemuargs.iter().enumerate() {
            match group.first() {
                Some(flag) if flag.starts_with('-') => {}
                _ => {
                    return Err(wrong(
                        &format!("qemuargs[{}]", index + 1),
                        "expected a flag and its values, such as { \"-device\", \"virtio-rng\" }",
                    ));
                }
            }
            if group.iter().any(|word| word.contains('\0')) {
                return Err(wrong(&format!("qemuargs[{}]", index + 1), "has a zero byte"));
            }
        }
        for (name, document) in
            [("user_data", &self.user_data), ("meta_data", &self.meta_data), ("network_config", &self.network_config)]
        {
            if let Some(Document::File(path)) = document {
                let path = cx.settings.resolve(path);
                let meta = std::fs::metadata(&path).map_err(|e| missing(name, &path, e))?;
                if meta.is_dir() {
                    return Err(wrong(name, format!("{} is a folder", path.display())));
                }
            }
        }
        if self.source_checksum.is_some() && matches!(self.source_image, Some(ImageSource::Artifact(_))) {
            warnings.push("source_checksum is not used: source_image is an artifact of this run".into());
        }
        if cx.settings.mode != crate::engine::Mode::Inspect {
            self.find_programs()?;
        }
        Ok(warnings)
    }

    /// Finds QEMU and `qemu-img`, or says which packages have them.
    pub fn find_programs(&self) -> Result<PathBuf> {
        let package = match self.architecture() {
            "x86_64" | "i686" => "qemu-system-x86",
            "aarch64" | "arm" => "qemu-system-arm",
            _ => "qemu-system",
        };
        process::require("qemu-img", "qemu-utils")?;
        process::require(self.binary(), package)
    }
}

pub fn wrong(option: &str, what: impl std::fmt::Display) -> Error {
    Error::new(Kind::Option, format!("option `{option}`: {what}")).field("option", option)
}

fn missing(option: &str, path: &Path, error: std::io::Error) -> Error {
    io_error("read", path, error)
        .within(format_args!("option `{option}`"))
        .field("option", option)
        .hint("relative paths start at the script's folder")
}

fn one_of(option: &str, value: Option<&str>, allowed: &'static [&'static str]) -> Result<()> {
    match value {
        Some(value) if !allowed.contains(&value) => {
            let error = wrong(option, format!("{value:?} is not one of {}", allowed.join(", ")));
            Err(match crate::engine::options::did_you_mean(value, allowed) {
                Some(hint) => error.hint(hint),
                None => error,
            })
        }
        _ => Ok(()),
    }
}
