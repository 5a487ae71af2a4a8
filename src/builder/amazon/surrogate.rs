//! `rimg.amazon.surrogate{…}`: an image of a volume that was worked on as a second disk of an instance.

use aws_sdk_ec2::types::{BlockDeviceMapping, EbsBlockDevice, Image, VolumeType};
use serde::Deserialize;

use super::block_device::BlockDevice;
use super::capture::{Captured, tags_of};
use super::machine::AmazonMachine;
use super::made::{Made, Sort};
use super::register;
use super::run_options::RunOptions;
use super::{one_of, wrong};
use crate::engine::BuildCx;
use crate::error::{Error, Kind, Result};

/// Options of the image's disks.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SurrogateOptions {
    /// Which of the instance's volumes becomes the root of the image.
    pub ami_root_device: RootDevice,
    /// Default: the source image's.
    pub ami_architecture: Option<String>,
}

/// The root of the image.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RootDevice {
    /// What the volume is called on the instance: one of `launch_block_device_mappings`.
    pub source_device_name: String,
    /// What it is called in the image.
    pub device_name: String,
    /// GiB; default: the volume's.
    pub volume_size: Option<i32>,
    pub volume_type: Option<String>,
    pub iops: Option<i32>,
    /// MiB a second, of a gp3 volume.
    pub throughput: Option<i32>,
    /// Default true.
    pub delete_on_termination: Option<bool>,
}

impl SurrogateOptions {
    /// Checks what can be told without asking anybody.
    pub fn validate(&self, run: &RunOptions) -> Result<()> {
        let root = &self.ami_root_device;
        if root.source_device_name.is_empty() || root.device_name.is_empty() {
            return Err(wrong(
                "ami_root_device",
                "needs `source_device_name` (on the instance) and `device_name` (in the image)",
            )
            .hint("ami_root_device = { source_device_name = \"/dev/xvdf\", device_name = \"/dev/xvda\" }"));
        }
        let names: Vec<&str> = volumes(run).map(|volume| volume.device_name.as_str()).collect();
        if !names.contains(&root.source_device_name.as_str()) {
            let known =
                if names.is_empty() { "there is none".to_owned() } else { format!("there is {}", names.join(", ")) };
            let what = format!("{:?} is no volume of `launch_block_device_mappings`: {known}", root.source_device_name);
            return Err(wrong("ami_root_device.source_device_name", what));
        }
        one_of(
            "ami_architecture",
            self.ami_architecture.as_deref(),
            &["arm64", "arm64_mac", "i386", "x86_64", "x86_64_mac"],
        )?;
        one_of("ami_root_device.volume_type", root.volume_type.as_deref(), VolumeType::values())
    }
}

/// Returns the volumes that are made for the instance.
fn volumes(run: &RunOptions) -> impl Iterator<Item = &BlockDevice> {
    run.launch_block_device_mappings.iter().filter(|device| !device.no_device && device.virtual_name.is_none())
}

/// Makes an image of the volumes: a snapshot of each, side by side, registered with the root that is wanted.
pub async fn make(
    machine: &AmazonMachine,
    surrogate: &SurrogateOptions,
    name: Option<&str>,
    cx: &BuildCx,
) -> Result<Captured> {
    let client = &machine.client;
    let made = Made::enter(client, Sort::Image, cx).await?;
    let there =
        machine.watch.seen.borrow().as_ref().map(|seen| seen.block_device_mappings().to_vec()).unwrap_or_default();
    let id_of = |device: &str| {
        let mapping = there.iter().find(|mapping| mapping.device_name() == Some(device));
        mapping
            .and_then(|mapping| mapping.ebs.as_ref())
            .and_then(|ebs| ebs.volume_id.clone())
            .ok_or_else(|| Error::new(Kind::Cloud, format!("{} has no volume {device} any more", machine.watch.id)))
    };
    let mut disks = Vec::new();
    for device in volumes(&machine.run) {
        disks.push((device, id_of(&device.device_name)?));
    }
    let (_, snapshot_tags) = tags_of(&made, &machine.image, name.unwrap_or(&made.thing.mark), cx);
    let snapshots = disks.iter().map(async |(device, volume)| -> Result<BlockDeviceMapping> {
        let description = format!("{} of {}", device.device_name, machine.watch.id);
        let id = register::snapshot(client, volume, description, &snapshot_tags, cx).await?;
        Ok(disk(device, &surrogate.ami_root_device, &id))
    });
    let mappings = futures_util::future::try_join_all(snapshots).await?;
    let source = &machine.source;
    let architecture = surrogate.ami_architecture.as_deref().map(Into::into).or_else(|| source.architecture.clone());
    let image = Image::builder()
        .set_architecture(architecture)
        .root_device_name(&surrogate.ami_root_device.device_name)
        .set_block_device_mappings(Some(mappings))
        .set_ena_support(source.ena_support)
        .set_boot_mode(source.boot_mode.clone())
        .build();
    register::registered(client, made, &image, name, &machine.image, cx).await
}

/// Returns a volume as the image has it.
fn disk(device: &BlockDevice, root: &RootDevice, snapshot: &str) -> BlockDeviceMapping {
    let is_root = device.device_name == root.source_device_name;
    let kind = root.volume_type.as_ref().filter(|_| is_root).or(device.volume_type.as_ref());
    let ebs = EbsBlockDevice::builder()
        .snapshot_id(snapshot)
        .set_volume_size(root.volume_size.filter(|_| is_root).or(device.volume_size))
        .set_volume_type(kind.map(|kind| VolumeType::from(kind.as_str())))
        .set_iops(root.iops.filter(|_| is_root).or(device.iops))
        .set_throughput(root.throughput.filter(|_| is_root).or(device.throughput))
        .delete_on_termination(
            root.delete_on_termination.filter(|_| is_root).or(device.delete_on_termination).unwrap_or(true),
        );
    let name = if is_root { &root.device_name } else { &device.device_name };
    BlockDeviceMapping::builder().device_name(name).ebs(ebs.build()).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(devices: &[&str]) -> RunOptions {
        let device =
            |name: &&str| BlockDevice { device_name: (*name).to_owned(), volume_size: Some(8), ..Default::default() };
        RunOptions { launch_block_device_mappings: devices.iter().map(device).collect(), ..Default::default() }
    }

    #[test]
    fn the_root_is_one_of_the_instances_volumes() {
        let root = RootDevice {
            source_device_name: "/dev/xvdf".into(),
            device_name: "/dev/xvda".into(),
            ..Default::default()
        };
        let options = SurrogateOptions { ami_root_device: root, ami_architecture: None };
        assert!(options.validate(&run(&["/dev/xvdf"])).is_ok());
        let message = options.validate(&run(&["/dev/xvdg"])).unwrap_err().message().to_owned();
        assert!(message.contains("/dev/xvdf") && message.contains("/dev/xvdg"), "{message}");
        assert!(SurrogateOptions::default().validate(&run(&[])).is_err());
    }

    #[test]
    fn the_root_gets_its_name_and_its_size() {
        let devices = run(&["/dev/xvdf", "/dev/xvdg"]).launch_block_device_mappings;
        let root = RootDevice {
            source_device_name: "/dev/xvdf".into(),
            device_name: "/dev/xvda".into(),
            volume_size: Some(20),
            ..Default::default()
        };
        let disks: Vec<_> = devices.iter().map(|device| disk(device, &root, "snap-1")).collect();
        let size = |n: usize| disks[n].ebs().and_then(|ebs| ebs.volume_size());
        assert_eq!((disks[0].device_name(), size(0)), (Some("/dev/xvda"), Some(20)));
        assert_eq!((disks[1].device_name(), size(1)), (Some("/dev/xvdg"), Some(8)));
    }
}
