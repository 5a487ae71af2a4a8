//! An image registered anew, of the snapshots of another: what an instance's image cannot be told when it is made.

use aws_sdk_ec2::types::{
    ArchitectureValues, BlockDeviceMapping, BootModeValues, EbsBlockDevice, Image, ImdsSupportValues, ResourceType,
    TpmSupportValues,
};

use super::capture::{Captured, tags_of};
use super::existing;
use super::image_options::ImageOptions;
use super::made::{Made, Sort};
use super::tags::Tags;
use super::wait;
use super::{Client, tags};
use crate::engine::BuildCx;
use crate::error::{Error, Kind, Result};

/// Registers the disks of `image` as another image, with what the options say of its firmware.
pub async fn anew(
    client: &Client,
    image: &Image,
    name: Option<&str>,
    options: &ImageOptions,
    cx: &BuildCx,
) -> Result<Captured> {
    let made = Made::enter(client, Sort::Image, cx).await?;
    registered(client, made, image, name, options, cx).await
}

/// Registers an image that was written down, and waits until it is there; without a name, it gets one of its own.
pub async fn registered(
    client: &Client,
    made: Made,
    image: &Image,
    name: Option<&str>,
    options: &ImageOptions,
    cx: &BuildCx,
) -> Result<Captured> {
    let name = name.unwrap_or(&made.thing.mark).to_owned();
    let (image_tags, _) = tags_of(&made, options, &name, cx);
    let request = client
        .ec2
        .register_image()
        .name(name)
        .set_description(options.ami_description.clone())
        .set_architecture(image.architecture.as_ref().map(|kind| ArchitectureValues::from(kind.as_str())))
        .set_root_device_name(image.root_device_name.clone())
        .virtualization_type("hvm")
        .set_ena_support(options.ena_support.or(image.ena_support))
        .set_sriov_net_support(image.sriov_net_support.clone())
        .set_boot_mode(
            options
                .boot_mode
                .as_deref()
                .or(image.boot_mode.as_ref().map(|mode| mode.as_str()))
                .map(BootModeValues::from),
        )
        .set_tpm_support(options.tpm_support.as_deref().map(TpmSupportValues::from))
        .set_uefi_data(options.uefi_data.clone())
        .set_imds_support(
            options
                .imds_support
                .as_deref()
                .or(image.imds_support.as_ref().map(|support| support.as_str()))
                .map(ImdsSupportValues::from),
        )
        .set_block_device_mappings(Some(image.block_device_mappings().iter().map(disk).collect()))
        .set_tag_specifications(tags::specifications(&[(ResourceType::Image, &image_tags)]));
    let id = match request.send().await {
        Ok(answer) => answer.image_id,
        // Sent again, because the first answer was lost: then the image has this mark.
        Err(failure) => match existing::marked(client, &made.thing.mark).await? {
            Some(id) => Some(id),
            None => return Err(client.failed("ec2:RegisterImage", failure).await),
        },
    };
    let id = id.ok_or_else(|| Error::new(Kind::Cloud, "AWS registered an image, and did not say which"))?;
    made.is(&id);
    let image = wait::image_available(client, &id, client.patience(None, wait::IMAGE), cx).await?;
    Ok(Captured { client: client.clone(), snapshots: wait::snapshots_of(&image), id, made })
}

/// Makes a snapshot of a volume, and waits until it holds all of it.
pub async fn snapshot(
    client: &Client,
    volume: &str,
    description: String,
    with_tags: &Tags,
    cx: &BuildCx,
) -> Result<String> {
    let request = client
        .ec2
        .create_snapshot()
        .volume_id(volume)
        .description(description)
        .set_tag_specifications(tags::specifications(&[(ResourceType::Snapshot, with_tags)]));
    let id = match request.send().await {
        Ok(answer) => answer.snapshot_id.unwrap_or_default(),
        Err(e) => return Err(client.failed("ec2:CreateSnapshot", e).await),
    };
    wait::snapshot_completed(client, &id, client.patience(None, wait::IMAGE), cx).await?;
    Ok(id)
}

/// Returns a disk of an image as a request has it: a snapshot knows whether it is encrypted, and may not be told.
fn disk(mapping: &BlockDeviceMapping) -> BlockDeviceMapping {
    let ebs = mapping.ebs.as_ref().map(|ebs| {
        EbsBlockDevice::builder()
            .set_snapshot_id(ebs.snapshot_id.clone())
            .set_volume_size(ebs.volume_size)
            .set_volume_type(ebs.volume_type.clone())
            .set_iops(ebs.iops)
            .set_throughput(ebs.throughput)
            .set_delete_on_termination(ebs.delete_on_termination)
            .set_encrypted(ebs.encrypted.filter(|_| ebs.snapshot_id.is_none()))
            .set_kms_key_id(ebs.kms_key_id.clone().filter(|_| ebs.snapshot_id.is_none()))
            .build()
    });
    BlockDeviceMapping::builder()
        .set_device_name(mapping.device_name.clone())
        .set_virtual_name(mapping.virtual_name.clone())
        .set_no_device(mapping.no_device.clone())
        .set_ebs(ebs)
        .build()
}
