//! Disks: what an instance starts with, and what its image says of them.

use aws_sdk_ec2::types::{BlockDeviceMapping, EbsBlockDevice, VolumeType};
use serde::Deserialize;

use super::wrong;
use crate::error::Result;

/// A disk of an instance or an image.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BlockDevice {
    /// `/dev/sda1`, `/dev/xvda`: what the image calls its root, or a new disk.
    pub device_name: String,
    /// GiB.
    pub volume_size: Option<i32>,
    /// `gp3`, `gp2`, `io1`, `io2`, `st1`, `sc1` or `standard`.
    pub volume_type: Option<String>,
    pub iops: Option<i32>,
    /// MiB a second, of a gp3 volume.
    pub throughput: Option<i32>,
    pub encrypted: Option<bool>,
    pub kms_key_id: Option<String>,
    /// The snapshot that the disk begins with.
    pub snapshot_id: Option<String>,
    /// Whether the disk goes with its instance; default true.
    pub delete_on_termination: Option<bool>,
    /// Whether the image's disk of this name is left out.
    pub no_device: bool,
    /// `ephemeral0`: a disk of the host's own.
    pub virtual_name: Option<String>,
}

impl BlockDevice {
    /// Checks what can be told without asking anybody; `option` is the list it stands in.
    pub fn validate(&self, option: &'static str) -> Result<()> {
        if self.device_name.is_empty() {
            return Err(wrong(option, "each needs a `device_name`, such as \"/dev/xvda\""));
        }
        if self.kms_key_id.is_some() && self.encrypted != Some(true) {
            return Err(wrong(option, format!("{}: `kms_key_id` needs `encrypted = true`", self.device_name)));
        }
        if let Some(kind) = &self.volume_type
            && !VolumeType::values().contains(&kind.as_str())
        {
            let known = VolumeType::values().join(", ");
            return Err(wrong(option, format!("{}: volume_type {kind:?} is none of {known}", self.device_name)));
        }
        if self.throughput.is_some() && self.volume_type.as_deref() != Some("gp3") {
            return Err(wrong(option, format!("{}: only a gp3 volume has a `throughput`", self.device_name)));
        }
        if self.iops.is_some() && !matches!(self.volume_type.as_deref(), Some("gp3" | "io1" | "io2")) {
            return Err(wrong(option, format!("{}: only gp3, io1 and io2 volumes have `iops`", self.device_name)));
        }
        Ok(())
    }

    /// Returns it as a request has it.
    pub fn mapping(&self) -> BlockDeviceMapping {
        let mapping = BlockDeviceMapping::builder().device_name(&self.device_name);
        if self.no_device {
            return mapping.no_device("").build();
        }
        if let Some(name) = &self.virtual_name {
            return mapping.virtual_name(name).build();
        }
        let disk = EbsBlockDevice::builder()
            .set_volume_size(self.volume_size)
            .set_volume_type(self.volume_type.as_deref().map(VolumeType::from))
            .set_iops(self.iops)
            .set_throughput(self.throughput)
            .set_encrypted(self.encrypted)
            .set_kms_key_id(self.kms_key_id.clone())
            .set_snapshot_id(self.snapshot_id.clone())
            .delete_on_termination(self.delete_on_termination.unwrap_or(true));
        mapping.ebs(disk.build()).build()
    }
}

/// Returns a list as a request has it; none where nothing is asked for.
pub fn mappings(devices: &[BlockDevice]) -> Option<Vec<BlockDeviceMapping>> {
    (!devices.is_empty()).then(|| devices.iter().map(BlockDevice::mapping).collect())
}
