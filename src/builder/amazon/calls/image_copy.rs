//! Copies of images, from one region to another.

use aws_sdk_ec2::types::ResourceType;
use serde::Deserialize;

use super::images::PRETENDED;
use super::request::{Call, Request, call, required};
use crate::builder::amazon::tags::{self, Tags};
use crate::builder::amazon::{Client, actions, wait, wrong};
use crate::engine::{BuildCx, Seconds};
use crate::error::Result;

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct CopyImage {
    source_region: String,
    source_image_id: String,
    name: String,
    description: Option<String>,
    encrypted: Option<bool>,
    kms_key_id: Option<String>,
    copy_image_tags: bool,
    tags: Tags,
    snapshot_tags: Tags,
    /// What makes a repeated request the same one.
    client_token: Option<String>,
    wait: Option<bool>,
    timeout: Option<Seconds>,
}

impl CopyImage {
    fn waits(&self) -> bool {
        self.wait.unwrap_or(true)
    }
}

impl Request for CopyImage {
    type Answer = String;
    const NAME: &'static str = "copy_image";
    const CLASS: Option<&'static str> = Some("rimg.AmazonCopyImageOptions");

    fn check(&self) -> Result<()> {
        required("source_region", &self.source_region)?;
        required("source_image_id", &self.source_image_id)?;
        required("name", &self.name)?;
        if self.client_token.as_ref().is_some_and(|token| token.is_empty() || token.len() > 64) {
            return Err(wrong("client_token", "has 1 to 64 characters"));
        }
        check_key(self.encrypted, self.kms_key_id.as_deref())?;
        tags::check("tags", &self.tags)?;
        tags::check("snapshot_tags", &self.snapshot_tags)
    }

    fn actions(&self) -> Vec<&'static str> {
        let mut needed = vec!["ec2:CopyImage"];
        if self.waits() {
            needed.extend(["ec2:DescribeImages", "ec2:DescribeSnapshots"]);
        }
        if !self.tags.is_empty() || !self.snapshot_tags.is_empty() {
            needed.push("ec2:CreateTags");
        }
        if self.copy_image_tags {
            needed.extend(["ec2:CreateTags", "ec2:DescribeTags"]);
        }
        if self.kms_key_id.is_some() {
            needed.extend(actions::KEY);
        }
        needed
    }

    fn pretended(&self) -> String {
        PRETENDED.to_owned()
    }

    async fn ask(self, client: &Client, cx: &BuildCx) -> Result<String> {
        let waits = self.waits();
        let tags = [(ResourceType::Image, &self.tags), (ResourceType::Snapshot, &self.snapshot_tags)];
        let request = client
            .ec2
            .copy_image()
            .set_tag_specifications(tags::specifications(&tags))
            .source_region(self.source_region)
            .source_image_id(self.source_image_id)
            .name(self.name)
            .set_description(self.description)
            // A key is for nothing else.
            .set_encrypted(self.encrypted.or(self.kms_key_id.is_some().then_some(true)))
            .set_kms_key_id(self.kms_key_id)
            .set_copy_image_tags(self.copy_image_tags.then_some(true))
            .client_token(self.client_token.unwrap_or_else(|| uuid::Uuid::new_v4().to_string()));
        let id = match request.send().await {
            Ok(answer) => answer.image_id.unwrap_or_default(),
            Err(error) => return Err(client.failed("ec2:CopyImage", error).await),
        };
        if waits {
            let patience = client.patience(self.timeout.map(|limit| limit.0), wait::IMAGE);
            wait::image_available(client, &id, patience, cx).await.map_err(|e| e.field("image_id", id.as_str()))?;
        }
        Ok(id)
    }
}

/// Checks what is said of a copy's encryption.
pub fn check_key(encrypted: Option<bool>, key: Option<&str>) -> Result<()> {
    match (encrypted, key) {
        (_, Some("")) => Err(wrong("kms_key_id", "is empty")),
        (Some(false), Some(_)) => Err(wrong("kms_key_id", "is for an encrypted copy, and `encrypted` is false")),
        _ => Ok(()),
    }
}

pub const CALLS: &[Call] = &[call::<CopyImage>()];

#[cfg(test)]
mod tests {
    use super::*;

    fn copy() -> CopyImage {
        CopyImage {
            source_region: "eu-west-1".into(),
            source_image_id: "ami-1".into(),
            name: "web".into(),
            ..CopyImage::default()
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(copy().check().is_ok());
        for (wrong, option) in [
            (CopyImage { name: String::new(), ..copy() }, "name"),
            (CopyImage { source_region: String::new(), ..copy() }, "source_region"),
            (CopyImage { client_token: Some("x".repeat(65)), ..copy() }, "client_token"),
            (CopyImage { encrypted: Some(false), kms_key_id: Some("k".into()), ..copy() }, "kms_key_id"),
            (CopyImage { snapshot_tags: Tags::from([("aws:x".into(), "y".into())]), ..copy() }, "snapshot_tags"),
        ] {
            assert_eq!(wrong.check().unwrap_err().get("option"), Some(&option.into()));
        }
    }

    #[test]
    fn a_policy_allows_what_is_done_and_no_more() {
        assert_eq!(CopyImage { wait: Some(false), ..copy() }.actions(), ["ec2:CopyImage"]);
        let tagged = CopyImage { tags: Tags::from([("a".into(), "b".into())]), ..copy() };
        assert!(tagged.actions().contains(&"ec2:CreateTags") && !copy().actions().contains(&"ec2:CreateTags"));
        assert!(CopyImage { kms_key_id: Some("k".into()), ..copy() }.actions().contains(&"kms:CreateGrant"));
    }
}
