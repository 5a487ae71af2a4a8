//! From the volume to an image: a snapshot of it, registered with the root and the other disks that are wanted.

use aws_sdk_ec2::types::{BlockDeviceMapping, EbsBlockDevice, Image};

use super::super::block_device::BlockDevice;
use super::super::capture::{Captured, tags_of};
use super::super::made::{Made, Sort};
use super::super::register;
use super::machine::ChrootMachine;
use super::volume::Root;
use crate::engine::BuildCx;
use crate::error::Result;

/// What Linux images call their root, where neither source nor options say it.
const ROOT: &str = "/dev/xvda";

/// Makes the image in the region of this instance.
pub async fn make(machine: &ChrootMachine, name: Option<&str>, cx: &BuildCx) -> Result<Captured> {
    let (client, options, volume) = (&machine.client, &machine.image, &machine.volume.id);
    let made = Made::enter(client, Sort::Image, cx).await?;
    let (_, snapshot_tags) = tags_of(&made, options, name.unwrap_or(&made.thing.mark), cx);
    let description = format!("root of {}", name.unwrap_or(volume));
    let snapshot = register::snapshot(client, volume, description, &snapshot_tags, cx).await?;
    let source = machine.source.as_ref();
    let wanted = machine.options.root_device_name.as_deref();
    let root = wanted.or_else(|| source.and_then(Image::root_device_name)).unwrap_or(ROOT);
    let architecture = machine.options.ami_architecture.as_deref().map(Into::into);
    let own = || machine.here.architecture.as_str().into();
    let sriov = source.and_then(|image| image.sriov_net_support.clone());
    let image = Image::builder()
        .architecture(architecture.or_else(|| source.and_then(|s| s.architecture.clone())).unwrap_or_else(own))
        .root_device_name(root)
        .set_block_device_mappings(Some(disks(
            source,
            root,
            &snapshot,
            &machine.root,
            &options.ami_block_device_mappings,
        )))
        .set_ena_support(source.map_or(Some(true), |image| image.ena_support))
        .set_sriov_net_support(if options.sriov_support { Some("simple".to_owned()) } else { sriov })
        .set_boot_mode(source.and_then(|image| image.boot_mode.clone()))
        .set_imds_support(source.and_then(|image| image.imds_support.clone()))
        .build();
    let registered = register::registered(client, made, &image, name, options, cx).await?;
    // What other disks begin with is not this image's own.
    Ok(Captured { snapshots: vec![snapshot], ..registered })
}

/// Returns the disks of the image: its root; those of the source that have no content of their own; those that are asked for.
fn disks(
    source: Option<&Image>,
    root: &str,
    snapshot: &str,
    volume: &Root,
    wanted: &[BlockDevice],
) -> Vec<BlockDeviceMapping> {
    let of_root = wanted.iter().find(|device| device.device_name == root).cloned().unwrap_or_default();
    let ebs = EbsBlockDevice::builder()
        .snapshot_id(snapshot)
        .set_volume_size(of_root.volume_size.or(volume.size))
        .set_volume_type(of_root.volume_type.as_deref().map(Into::into).or_else(|| volume.kind.clone()))
        .set_iops(of_root.iops.or(volume.iops))
        .set_throughput(of_root.throughput.or(volume.throughput))
        .delete_on_termination(of_root.delete_on_termination.unwrap_or(true));
    let own = source.and_then(Image::root_device_name).unwrap_or(root);
    let is_named = |name: &str| name == root || name == own || wanted.iter().any(|device| device.device_name == name);
    let kept = source.into_iter().flat_map(Image::block_device_mappings).filter(|disk| {
        disk.device_name().is_some_and(|name| !is_named(name))
            && disk.ebs().is_none_or(|ebs| ebs.snapshot_id().is_none())
    });
    let asked = wanted.iter().filter(|device| device.device_name != root).map(BlockDevice::mapping);
    let first = BlockDeviceMapping::builder().device_name(root).ebs(ebs.build()).build();
    std::iter::once(first).chain(kept.cloned()).chain(asked).collect()
}

/// Returns the disks of the source that its image will not have: their content was not looked at.
pub fn left_out(source: &Image, wanted: &[BlockDevice]) -> Vec<String> {
    let has_content = |disk: &&BlockDeviceMapping| disk.ebs().is_some_and(|ebs| ebs.snapshot_id().is_some());
    let names = source.block_device_mappings().iter().filter(has_content).filter_map(BlockDeviceMapping::device_name);
    let others = names.filter(|name| Some(*name) != source.root_device_name());
    others.filter(|name| !wanted.iter().any(|device| device.device_name == *name)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Image {
        let disk = |name: &str, snapshot: Option<&str>| {
            let ebs = EbsBlockDevice::builder().set_snapshot_id(snapshot.map(str::to_owned)).volume_size(4).build();
            BlockDeviceMapping::builder().device_name(name).ebs(ebs).build()
        };
        let local = BlockDeviceMapping::builder().device_name("/dev/sdc").virtual_name("ephemeral0").build();
        let all = vec![
            disk("/dev/xvda", Some("snap-old")),
            disk("/dev/sdb", Some("snap-data")),
            local,
            disk("/dev/sdd", None),
        ];
        Image::builder().root_device_name("/dev/xvda").set_block_device_mappings(Some(all)).build()
    }

    #[test]
    fn the_image_has_its_root_and_what_is_asked_for() {
        let wanted = [
            BlockDevice { device_name: "/dev/sda1".into(), volume_size: Some(30), ..Default::default() },
            BlockDevice { device_name: "/dev/sdd".into(), volume_size: Some(9), ..Default::default() },
        ];
        let volume = Root { size: Some(8), ..Root::default() };
        let disks = disks(Some(&source()), "/dev/sda1", "snap-new", &volume, &wanted);
        let shown: Vec<_> =
            disks.iter().map(|disk| (disk.device_name().unwrap(), disk.ebs().and_then(|e| e.volume_size()))).collect();
        assert_eq!(shown, [("/dev/sda1", Some(30)), ("/dev/sdc", None), ("/dev/sdd", Some(9))]);
        assert_eq!(disks[0].ebs().unwrap().snapshot_id(), Some("snap-new"));
        assert_eq!(left_out(&source(), &wanted), ["/dev/sdb"]);
    }
}
