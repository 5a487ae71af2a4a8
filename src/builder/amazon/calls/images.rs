//! Images: which there are, and waiting for one.

use aws_sdk_ec2::types;
use serde::{Deserialize, Serialize};

use super::convert::{list, page_size};
use super::request::{Call, Request, call, required};
use crate::builder::amazon::error::is_not_found;
use crate::builder::amazon::filters::Filters;
use crate::builder::amazon::tags::{self, Tags};
use crate::builder::amazon::{Client, wait};
use crate::engine::{BuildCx, Seconds};
use crate::error::Result;

/// The id of images that are only pretended.
pub const PRETENDED: &str = "ami-0123456789abcdef0";

/// An image as scripts have it.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Image {
    pub id: String,
    pub name: String,
    pub description: Option<String>,
    pub state: String,
    pub state_reason: Option<String>,
    pub architecture: Option<String>,
    pub creation_date: String,
    pub deprecation_time: Option<String>,
    pub owner_id: String,
    pub public: bool,
    pub platform: Option<String>,
    pub boot_mode: Option<String>,
    pub ena_support: Option<bool>,
    pub imds_support: Option<String>,
    pub tpm_support: Option<String>,
    pub root_device_name: Option<String>,
    pub root_device_type: Option<String>,
    pub virtualization_type: Option<String>,
    pub location: Option<String>,
    pub deregistration_protection: Option<String>,
    pub snapshots: Vec<String>,
    pub tags: Tags,
}

impl From<types::Image> for Image {
    fn from(image: types::Image) -> Image {
        Image {
            snapshots: wait::snapshots_of(&image),
            tags: tags::from_sdk(image.tags()),
            id: image.image_id.unwrap_or_default(),
            name: image.name.unwrap_or_default(),
            description: image.description.filter(|text| !text.is_empty()),
            state: image.state.map(|state| state.as_str().to_owned()).unwrap_or_default(),
            state_reason: image.state_reason.and_then(|reason| reason.message.or(reason.code)),
            architecture: image.architecture.map(|it| it.as_str().to_owned()),
            creation_date: image.creation_date.unwrap_or_default(),
            deprecation_time: image.deprecation_time,
            owner_id: image.owner_id.unwrap_or_default(),
            public: image.public.unwrap_or_default(),
            platform: image.platform.map(|it| it.as_str().to_owned()),
            boot_mode: image.boot_mode.map(|it| it.as_str().to_owned()),
            ena_support: image.ena_support,
            imds_support: image.imds_support.map(|it| it.as_str().to_owned()),
            tpm_support: image.tpm_support.map(|it| it.as_str().to_owned()),
            root_device_name: image.root_device_name,
            root_device_type: image.root_device_type.map(|it| it.as_str().to_owned()),
            virtualization_type: image.virtualization_type.map(|it| it.as_str().to_owned()),
            location: image.image_location,
            deregistration_protection: image.deregistration_protection,
        }
    }
}

impl Image {
    /// Returns an image that nobody has made.
    fn pretended(id: &str) -> Image {
        Image {
            id: id.to_owned(),
            name: "pretended".into(),
            state: "available".into(),
            architecture: Some("x86_64".into()),
            creation_date: "2026-01-01T00:00:00.000Z".into(),
            owner_id: "123456789012".into(),
            ena_support: Some(true),
            root_device_name: Some("/dev/xvda".into()),
            root_device_type: Some("ebs".into()),
            virtualization_type: Some("hvm".into()),
            snapshots: vec!["snap-0123456789abcdef0".into()],
            ..Image::default()
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Images {
    owners: Vec<String>,
    image_ids: Vec<String>,
    filters: Filters,
    executable_users: Vec<String>,
    include_deprecated: bool,
}

impl Request for Images {
    type Answer = Vec<Image>;
    const NAME: &'static str = "images";
    const CLASS: Option<&'static str> = Some("rimg.AmazonImagesOptions");

    fn check(&self) -> Result<()> {
        self.filters.check("filters")
    }

    fn actions(&self) -> Vec<&'static str> {
        vec!["ec2:DescribeImages"]
    }

    fn pretended(&self) -> Vec<Image> {
        match self.image_ids.as_slice() {
            [] => vec![Image::pretended(PRETENDED)],
            ids => ids.iter().map(|id| Image::pretended(id)).collect(),
        }
    }

    async fn ask(self, client: &Client, _: &BuildCx) -> Result<Vec<Image>> {
        let request = client
            .ec2
            .describe_images()
            .set_max_results(page_size(&self.image_ids))
            .set_owners(list(self.owners))
            .set_image_ids(list(self.image_ids))
            .set_filters(self.filters.request())
            .set_executable_users(list(self.executable_users))
            .include_deprecated(self.include_deprecated);
        match request.into_paginator().items().send().try_collect().await {
            Ok(found) => Ok(newest_first(found.into_iter().map(Image::from).collect())),
            Err(error) => Err(client.failed("ec2:DescribeImages", error).await),
        }
    }
}

fn newest_first(mut images: Vec<Image>) -> Vec<Image> {
    images.sort_by(|a, b| (&b.creation_date, &a.name, &a.id).cmp(&(&a.creation_date, &b.name, &b.id)));
    images
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct OneImage {
    image_id: String,
}

impl Request for OneImage {
    type Answer = Option<Image>;
    const NAME: &'static str = "image";
    const FIRST: Option<&'static str> = Some("image_id");

    fn check(&self) -> Result<()> {
        required("image_id", &self.image_id)
    }

    fn actions(&self) -> Vec<&'static str> {
        vec!["ec2:DescribeImages"]
    }

    fn pretended(&self) -> Option<Image> {
        Some(Image::pretended(&self.image_id))
    }

    async fn ask(self, client: &Client, _: &BuildCx) -> Result<Option<Image>> {
        match client.ec2.describe_images().image_ids(self.image_id).include_deprecated(true).send().await {
            Ok(answer) => Ok(answer.images.unwrap_or_default().into_iter().next().map(Image::from)),
            Err(error) if is_not_found(&error) => Ok(None),
            Err(error) => Err(client.failed("ec2:DescribeImages", error).await),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WaitImage {
    image_id: String,
    timeout: Option<Seconds>,
}

impl Request for WaitImage {
    type Answer = Image;
    const NAME: &'static str = "wait_image";
    const FIRST: Option<&'static str> = Some("image_id");
    const CLASS: Option<&'static str> = Some("rimg.AmazonWaitImageOptions");

    fn check(&self) -> Result<()> {
        required("image_id", &self.image_id)
    }

    fn actions(&self) -> Vec<&'static str> {
        vec!["ec2:DescribeImages", "ec2:DescribeSnapshots"]
    }

    fn pretended(&self) -> Image {
        Image::pretended(&self.image_id)
    }

    async fn ask(self, client: &Client, cx: &BuildCx) -> Result<Image> {
        let patience = client.patience(self.timeout.map(|limit| limit.0), wait::IMAGE);
        Ok(wait::image_available(client, &self.image_id, patience, cx).await?.into())
    }
}

pub const CALLS: &[Call] = &[call::<Images>(), call::<OneImage>(), call::<WaitImage>()];

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::{BlockDeviceMapping, EbsBlockDevice, ImageState, StateReason, Tag};

    use super::*;

    #[test]
    fn an_image_of_the_sdk_is_one_of_the_script() {
        let ebs = EbsBlockDevice::builder().snapshot_id("snap-1").build();
        let image = types::Image::builder()
            .image_id("ami-1")
            .name("web")
            .description("")
            .state(ImageState::Failed)
            .state_reason(StateReason::builder().message("no key").build())
            .block_device_mappings(BlockDeviceMapping::builder().ebs(ebs).build())
            .block_device_mappings(BlockDeviceMapping::builder().virtual_name("ephemeral0").build())
            .tags(Tag::builder().key("Role").value("web").build())
            .build();
        let expected = Image {
            id: "ami-1".into(),
            name: "web".into(),
            state: "failed".into(),
            state_reason: Some("no key".into()),
            snapshots: vec!["snap-1".into()],
            tags: Tags::from([("Role".into(), "web".into())]),
            ..Image::default()
        };
        assert_eq!(Image::from(image), expected);
    }

    #[test]
    fn the_newest_comes_first() {
        let image = |id: &str, date: &str| Image { id: id.into(), creation_date: date.into(), ..Image::default() };
        let sorted = newest_first(vec![image("b", "2025"), image("c", "2026"), image("a", "2025")]);
        assert_eq!(sorted.iter().map(|image| image.id.as_str()).collect::<Vec<_>>(), ["c", "a", "b"]);
    }
}
