//! The volume that becomes the root of an image: made, attached to this instance, taken off it, removed.

use aws_sdk_ec2::types::{Filter, Image, ResourceType, Volume as Found, VolumeState, VolumeType};
use tokio::time::Instant;

use super::super::error::{code, is_not_found};
use super::super::made::{ENDING, Made, PAUSE, Sort};
use super::super::{Client, tags, wait, wrong};
use super::device;
use super::here::Here;
use super::options::ChrootOptions;
use crate::engine::BuildCx;
use crate::error::{Error, Kind, Result};

/// What a volume is called when nobody says it; Amazon recommends these.
const NAMES: std::ops::RangeInclusive<char> = 'f'..='p';
/// After which time of waiting a volume is taken off by force: what is removed need not be whole.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// A volume that has been made.
pub struct Volume {
    pub id: String,
    pub made: Made,
}

/// What the volume begins as.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Root {
    pub snapshot: Option<String>,
    pub size: Option<i32>,
    pub kind: Option<VolumeType>,
    pub iops: Option<i32>,
    pub throughput: Option<i32>,
}

impl Root {
    /// Returns the root of the source image, with what the options say of it; without a source an empty one.
    pub fn of(source: Option<&Image>, options: &ChrootOptions) -> Result<Root> {
        let kind = options.root_volume_type.as_deref().map(VolumeType::from);
        let Some(source) = source else {
            return Ok(Root {
                size: options.root_volume_size,
                kind: kind.or(Some(VolumeType::Gp3)),
                ..Root::default()
            });
        };
        let name = source.root_device_name();
        let mut mappings = source.block_device_mappings().iter();
        let ebs = mappings.find(|mapping| mapping.device_name() == name).and_then(|mapping| mapping.ebs());
        let Some((ebs, snapshot)) = ebs.and_then(|ebs| Some((ebs, ebs.snapshot_id()?))) else {
            let id = source.image_id().unwrap_or_default();
            let error = Error::new(Kind::Unsupported, format!("{id} has no root on EBS: there is no snapshot of it"));
            return Err(error.hint("an image whose root-device-type is `ebs` has one"));
        };
        let (own, wanted) = (ebs.volume_size(), options.root_volume_size);
        if let (Some(own), Some(wanted)) = (own, wanted)
            && wanted < own
        {
            return Err(wrong("root_volume_size", format!("is {wanted}, and the source's root has {own} GiB")));
        }
        // What belongs to the source's type says nothing of another.
        let same = kind.is_none() || kind.as_ref() == ebs.volume_type();
        Ok(Root {
            snapshot: Some(snapshot.to_owned()),
            size: wanted.or(own),
            iops: ebs.iops().filter(|_| same && ebs.volume_type() != Some(&VolumeType::Gp2)),
            throughput: ebs.throughput().filter(|_| same),
            kind: kind.or_else(|| ebs.volume_type().cloned()),
        })
    }
}

/// Makes the volume in this instance's zone, and waits until it is there.
pub async fn make(client: &Client, root: &Root, options: &ChrootOptions, here: &Here, cx: &BuildCx) -> Result<Volume> {
    let made = Made::enter(client, Sort::Volume, cx).await?;
    let own = made.tags(&options.root_volume_tags, cx);
    let request = client
        .ec2
        .create_volume()
        .availability_zone(&here.zone)
        .set_snapshot_id(root.snapshot.clone())
        .set_size(root.size)
        .set_volume_type(root.kind.clone())
        .set_iops(root.iops)
        .set_throughput(root.throughput)
        .set_encrypted(options.root_volume_encrypt_boot)
        .set_kms_key_id(options.root_volume_kms_key_id.clone())
        // The same request that is sent again makes no second volume.
        .client_token(&made.thing.mark)
        .set_tag_specifications(tags::specifications(&[(ResourceType::Volume, &own)]));
    let id = match request.send().await {
        Ok(answer) => answer.volume_id,
        Err(e) => return Err(client.failed("ec2:CreateVolume", e).await),
    };
    let id = id.ok_or_else(|| Error::new(Kind::Cloud, "AWS made a volume, and did not say which"))?;
    made.is(&id);
    wait::volume_available(client, &id, client.patience(None, wait::INSTANCE), cx).await?;
    Ok(Volume { id, made })
}

/// Attaches a volume to this instance, and returns what it is called.
pub async fn attach(client: &Client, volume: &str, options: &ChrootOptions, here: &Here) -> Result<String> {
    let taken = taken(client, here).await?;
    let is_free = |name: &String| {
        !taken.iter().any(|other| device::names(name).contains(other))
            && !device::names(name).iter().any(|path| std::path::Path::new(path).exists())
    };
    let names = match &options.device_path {
        Some(name) if !is_free(name) => {
            let what = format!("{name} is taken: this instance has {}", taken.join(", "));
            return Err(wrong("device_path", what).hint("leave it out: the first free one is taken"));
        }
        Some(name) => vec![name.clone()],
        None => NAMES.map(|letter| format!("/dev/sd{letter}")).filter(is_free).collect(),
    };
    for name in &names {
        let request = client.ec2.attach_volume().volume_id(volume).instance_id(&here.instance).device(name);
        let Err(failure) = request.send().await else { return Ok(name.clone()) };
        // Sent again, because the first answer was lost.
        if let Some(name) = attached_as(client, volume, here).await? {
            return Ok(name);
        }
        let said = failure.as_service_error().and_then(|error| error.meta().message()).unwrap_or_default();
        // Another build was faster.
        if code(&failure) == Some("InvalidParameterValue") && said.contains("in use") && options.device_path.is_none() {
            continue;
        }
        return Err(client.failed("ec2:AttachVolume", failure).await);
    }
    Err(Error::new(Kind::Host, format!("no device from /dev/sdf to /dev/sdp is free on {}", here.instance))
        .hint("build fewer images at once: --parallel 4"))
}

/// Returns the names of the devices that this instance has.
async fn taken(client: &Client, here: &Here) -> Result<Vec<String>> {
    let answer = match client.ec2.describe_instances().instance_ids(&here.instance).send().await {
        Ok(answer) => answer,
        Err(e) => return Err(client.failed("ec2:DescribeInstances", e).await),
    };
    let instances = answer.reservations().iter().flat_map(|some| some.instances());
    let devices = instances.flat_map(|instance| instance.block_device_mappings());
    Ok(devices.filter_map(|device| device.device_name.clone()).collect())
}

async fn attached_as(client: &Client, volume: &str, here: &Here) -> Result<Option<String>> {
    let found = look(client, volume).await?;
    let attachments = found.iter().flat_map(|volume| volume.attachments());
    let mut own = attachments.filter(|attachment| attachment.instance_id() == Some(&here.instance));
    Ok(own.next().and_then(|attachment| attachment.device.clone()))
}

/// Returns what AWS says of a volume; none where it is gone.
async fn look(client: &Client, id: &str) -> Result<Option<Found>> {
    match client.ec2.describe_volumes().volume_ids(id).send().await {
        Ok(answer) => Ok(answer.volumes.unwrap_or_default().into_iter().next()),
        Err(e) if is_not_found(&e) => Ok(None),
        Err(e) => Err(client.failed("ec2:DescribeVolumes", e).await),
    }
}

/// Takes a volume off this instance, and waits until that is done.
pub async fn detach(client: &Client, id: &str, here: &Here, cx: &BuildCx) -> Result<()> {
    if look(client, id).await?.is_some_and(|volume| is_free(&volume)) {
        return Ok(());
    }
    if let Err(e) = client.ec2.detach_volume().volume_id(id).instance_id(&here.instance).send().await {
        return Err(client.failed("ec2:DetachVolume", e).await);
    }
    wait::volume_available(client, id, client.patience(None, wait::INSTANCE), cx).await
}

fn is_free(volume: &Found) -> bool {
    volume.state() == Some(&VolumeState::Available)
}

/// Removes the volume that a filter finds, taken off what it is attached to. Tells whether it was there.
pub async fn remove(client: &Client, tagged: Filter, id: Option<&str>, dry_run: bool) -> Result<bool> {
    let ids = match id {
        Some(id) => vec![id.to_owned()],
        None => match client.ec2.describe_volumes().filters(tagged).send().await {
            Ok(answer) => answer.volumes().iter().filter_map(|volume| volume.volume_id.clone()).collect(),
            Err(e) => return Err(client.failed("ec2:DescribeVolumes", e).await),
        },
    };
    for id in ids.iter().filter(|_| !dry_run) {
        free(client, id).await?;
        delete(client, id).await?;
    }
    Ok(!ids.is_empty())
}

/// Takes a volume off whatever it is attached to, in the end by force.
async fn free(client: &Client, id: &str) -> Result<()> {
    let begun = Instant::now();
    let mut asked = None;
    while let Some(volume) = look(client, id).await? {
        let instance = volume.attachments().iter().find_map(|attachment| attachment.instance_id());
        if is_free(&volume) || (instance.is_none() && volume.state() == Some(&VolumeState::Error)) {
            return Ok(());
        }
        let force = begun.elapsed() > PATIENCE;
        // A volume that is still being made is not attached.
        if let Some(instance) = instance.filter(|_| asked != Some(force)) {
            match client.ec2.detach_volume().volume_id(id).instance_id(instance).force(force).send().await {
                Err(e) if !is_not_found(&e) && code(&e) != Some("IncorrectState") => {
                    return Err(client.failed("ec2:DetachVolume", e).await);
                }
                _ => asked = Some(force),
            }
        }
        if begun.elapsed() > ENDING {
            return Err(Error::new(Kind::Timeout, format!("{id} is still attached after {ENDING:?}")));
        }
        tokio::time::sleep(PAUSE.min(client.polling.delay())).await;
    }
    Ok(())
}

/// Deletes a volume; one that is not there is fine.
pub async fn delete(client: &Client, id: &str) -> Result<()> {
    match client.ec2.delete_volume().volume_id(id).send().await {
        Err(e) if !is_not_found(&e) => Err(client.failed("ec2:DeleteVolume", e).await),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::{BlockDeviceMapping, EbsBlockDevice};

    use super::*;

    fn image(kind: VolumeType) -> Image {
        let ebs = EbsBlockDevice::builder().snapshot_id("snap-1").volume_size(8).volume_type(kind).iops(3000).build();
        let root = BlockDeviceMapping::builder().device_name("/dev/xvda").ebs(ebs).build();
        let other = BlockDeviceMapping::builder().device_name("/dev/sdb").virtual_name("ephemeral0").build();
        let mappings = Some(vec![other, root]);
        Image::builder().image_id("ami-1").root_device_name("/dev/xvda").set_block_device_mappings(mappings).build()
    }

    #[test]
    fn the_volume_begins_as_the_sources_root() {
        let options = ChrootOptions::default();
        let root = Root::of(Some(&image(VolumeType::Gp3)), &options).unwrap();
        assert_eq!((root.snapshot.as_deref(), root.size, root.iops), (Some("snap-1"), Some(8), Some(3000)));
        // AWS tells the iops of a gp2 volume, and does not want to be told.
        assert_eq!(Root::of(Some(&image(VolumeType::Gp2)), &options).unwrap().iops, None);
        let options = ChrootOptions {
            root_volume_size: Some(20),
            root_volume_type: Some("gp2".into()),
            ..ChrootOptions::default()
        };
        let root = Root::of(Some(&image(VolumeType::Gp3)), &options).unwrap();
        assert_eq!((root.kind, root.size, root.iops), (Some(VolumeType::Gp2), Some(20), None));
        let small = ChrootOptions { root_volume_size: Some(4), ..ChrootOptions::default() };
        assert!(Root::of(Some(&image(VolumeType::Gp3)), &small).unwrap_err().message().contains("8 GiB"));
        let none = Image::builder().image_id("ami-2").root_device_name("/dev/sda1").build();
        assert_eq!(Root::of(Some(&none), &ChrootOptions::default()).unwrap_err().kind(), Kind::Unsupported);
    }
}
