//! From an instance that is stopped to an image, in as many regions as are wanted.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{AttributeBooleanValue, AttributeValue, Image, ImdsSupportValues, ResourceType};

use super::artifact::{self, Regional};
use super::block_device::mappings;
use super::copy;
use super::existing;
use super::image_access;
use super::image_options::{ImageOptions, check_name};
use super::machine::AmazonMachine;
use super::made::{self, BUILD, MARK, Made, RUN, Sort};
use super::register;
use super::surrogate;
use super::wait::{self, snapshots_of};
use super::{Client, tags, wrong};
use crate::engine::{Artifact, BuildCx, CaptureSpec};
use crate::error::{Error, Kind, Result};

/// What was made in one region.
pub struct Captured {
    pub client: Client,
    pub id: String,
    pub snapshots: Vec<String>,
    pub made: Made,
}

/// Returns the name that the image gets.
pub fn name<'n>(spec: &'n CaptureSpec, image: &'n ImageOptions) -> Result<&'n str> {
    let name = spec.name.as_deref().or(image.ami_name.as_deref()).unwrap_or_default();
    check_name(if spec.name.is_some() { "name" } else { "ami_name" }, name).map(|()| name)
}

/// Checks what `vm:finish` is going to be asked for.
pub fn check(spec: &CaptureSpec, image: &ImageOptions) -> Result<()> {
    if image.skip_create_ami {
        return Ok(());
    }
    let given = [
        ("output_directory", spec.output_directory.is_some()),
        ("format", spec.format.is_some()),
        ("compact", spec.compact.is_some()),
        ("compress", spec.compress.is_some()),
    ];
    if let Some((option, _)) = given.iter().find(|(_, given)| *given) {
        return Err(wrong(*option, "an image of Amazon's is no file: it stays in its regions"));
    }
    name(spec, image).map(drop)
}

/// An image on its way, and its copies. Only when all of them are there, it is finished: what was made of one that is not
/// goes.
pub struct Capture<'a> {
    /// The builder's name.
    pub kind: &'static str,
    pub client: &'a Client,
    pub options: &'a ImageOptions,
    name: &'a str,
}

impl<'a> Capture<'a> {
    /// Makes room for the image; none where none is wanted.
    pub async fn begin(
        kind: &'static str,
        client: &'a Client,
        options: &'a ImageOptions,
        spec: &'a CaptureSpec,
    ) -> Result<Option<Self>> {
        if options.skip_create_ami {
            return Ok(None);
        }
        let name = name(spec, options)?;
        if options.force_deregister {
            existing::replace(client, name, options.force_delete_snapshot).await?;
        }
        Ok(Some(Capture { kind, client, options, name }))
    }

    /// Returns what the image in the build's own region is called. One that others are only copied from goes in the end,
    /// and leaves its name to the copy in its own region.
    pub fn own_name(&self) -> Option<&str> {
        (!self.is_passing()).then_some(self.name)
    }

    fn is_passing(&self) -> bool {
        self.options.encrypt_boot == Some(true) || self.options.skip_save_build_region
    }

    /// Copies the image of the build's own region to all that are wanted, and does the rest that is wanted of them.
    pub async fn complete(&self, first: Captured, cx: &BuildCx) -> Result<Artifact> {
        let images = self.copies(first, cx).await?;
        Ok(artifact::of(self.kind, finished(images, self.options, cx).await?, cx.build.to_string()))
    }

    async fn copies(&self, first: Captured, cx: &BuildCx) -> Result<Vec<Captured>> {
        let Capture { client, options, name, .. } = *self;
        let (encrypts, passing) = (options.encrypt_boot == Some(true), self.is_passing());
        let others: Vec<&String> = options.ami_regions.iter().filter(|region| **region != *client.region).collect();
        let own = (encrypts && !options.skip_save_build_region).then_some(&*client.region).into_iter();
        let wanted = copy::Wanted { name, client, id: &first.id, options, cx };
        let mut images = wanted.make(own.chain(others.iter().map(|region| region.as_str()))).await?;
        if passing {
            cx.resources.release(first.made.resource).await?;
        } else {
            image_access::apply(&first, options).await?;
            images.push(first);
        }
        images.sort_by_key(|image| *image.client.region != *client.region);
        Ok(images)
    }
}

/// Lets go of images that are to stay, and protects them.
pub async fn finished(images: Vec<Captured>, options: &ImageOptions, cx: &BuildCx) -> Result<Vec<Regional>> {
    for image in &images {
        cx.resources.forget(image.made.resource);
    }
    for image in &images {
        image_access::protect(image, options).await?;
    }
    let regional = |image: Captured| Regional {
        region: image.client.region.to_string(),
        id: image.id,
        snapshots: image.snapshots,
    };
    Ok(images.into_iter().map(regional).collect())
}

/// Makes the image of an instance, and its copies.
pub async fn capture(machine: &AmazonMachine, spec: &CaptureSpec, cx: &BuildCx) -> Result<Artifact> {
    match Capture::begin(machine.kind, &machine.client, &machine.image, spec).await? {
        None => Ok(artifact::of(machine.kind, Vec::new(), cx.build.to_string())),
        Some(capture) => capture.complete(original(machine, capture.own_name(), cx).await?, cx).await,
    }
}

/// Makes the image that the others are copies of, in the instance's own region.
async fn original(machine: &AmazonMachine, name: Option<&str>, cx: &BuildCx) -> Result<Captured> {
    let (client, options) = (&machine.client, &machine.image);
    if let Some(surrogate) = &machine.surrogate {
        return surrogate::make(machine, surrogate, name, cx).await;
    }
    adapt(machine).await?;
    let registers = options.registers_anew();
    let (first, image) = create(machine, name.filter(|_| !registers), cx).await?;
    if !registers {
        return Ok(first);
    }
    let anew = register::anew(client, &image, name, options, cx).await?;
    made::deregister(client, &first.id).await?;
    // Its snapshots are the new one's now.
    cx.resources.forget(first.made.resource);
    Ok(anew)
}

/// Tells AWS which network cards the system has drivers for: the image takes it from its instance.
async fn adapt(machine: &AmazonMachine) -> Result<()> {
    let (client, options) = (&machine.client, &machine.image);
    let request = || client.ec2.modify_instance_attribute().instance_id(&machine.watch.id);
    if let Some(ena) = options.ena_support {
        let value = AttributeBooleanValue::builder().value(ena).build();
        if let Err(e) = request().ena_support(value).send().await {
            return Err(client.failed("ec2:ModifyInstanceAttribute", e).await);
        }
    }
    if options.sriov_support {
        let value = AttributeValue::builder().value("simple").build();
        if let Err(e) = request().sriov_net_support(value).send().await {
            return Err(client.failed("ec2:ModifyInstanceAttribute", e).await);
        }
    }
    Ok(())
}

/// Makes the image in the instance's own region, and waits until it is there; without a name, it gets one of its own.
async fn create(machine: &AmazonMachine, name: Option<&str>, cx: &BuildCx) -> Result<(Captured, Image)> {
    let (client, options) = (&machine.client, &machine.image);
    let made = Made::enter(client, Sort::Image, cx).await?;
    let name = name.unwrap_or(&made.thing.mark).to_owned();
    let (image_tags, snapshot_tags) = tags_of(&made, options, &name, cx);
    let request = client
        .ec2
        .create_image()
        .instance_id(&machine.watch.id)
        .name(name)
        .set_description(options.ami_description.clone())
        .set_block_device_mappings(mappings(&options.ami_block_device_mappings))
        .set_tag_specifications(tags::specifications(&[
            (ResourceType::Image, &image_tags),
            (ResourceType::Snapshot, &snapshot_tags),
        ]));
    let id = match request.send().await {
        Ok(answer) => answer.image_id,
        Err(failure) => {
            // Sent again, because the first answer was lost: then the image has this mark.
            let found = existing::marked(client, &made.thing.mark).await?;
            match found {
                Some(id) => Some(id),
                None => return Err(client.failed("ec2:CreateImage", failure).await),
            }
        }
    };
    let id = id.ok_or_else(|| Error::new(Kind::Cloud, "AWS made an image, and did not say which"))?;
    made.is(&id);
    let patience = client.patience(None, wait::IMAGE);
    let image = wait::image_available(client, &id, patience, cx).await?;
    let snapshots = snapshots_of(&image);
    if options.imds_support.is_some() && !options.registers_anew() {
        let set = client.ec2.modify_image_attribute().image_id(&id);
        let value = AttributeValue::builder().value(ImdsSupportValues::V20.as_str()).build();
        if let Err(e) = set.imds_support(value).send().await {
            return Err(client.failed("ec2:ModifyImageAttribute", e).await);
        }
    }
    Ok((Captured { client: client.clone(), id, snapshots, made }, image))
}

/// Returns the tags of an image and of its snapshots.
pub fn tags_of(
    made: &Made,
    options: &ImageOptions,
    name: &str,
    cx: &BuildCx,
) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let own = BTreeMap::from([("Name".to_owned(), name.to_owned())]);
    let mut image = made.tags(&own, cx);
    image.extend(options.tags.clone());
    let mut snapshot = image.clone();
    snapshot.extend(options.snapshot_tags.clone());
    (image, snapshot)
}

/// Takes off a finished image what rimg finds unfinished ones by.
pub async fn unmark(image: &Captured) -> Result<()> {
    let marks = [RUN, MARK, BUILD].map(|key| aws_sdk_ec2::types::Tag::builder().key(key).build());
    let ids = image.snapshots.iter().chain([&image.id]).cloned().collect();
    let request = image.client.ec2.delete_tags().set_resources(Some(ids)).set_tags(Some(marks.to_vec()));
    match request.send().await {
        Ok(_) => Ok(()),
        Err(e) => Err(image.client.failed("ec2:DeleteTags", e).await),
    }
}
