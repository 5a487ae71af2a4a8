//! Tags of things that are there.

use aws_sdk_ec2::types::Tag;
use serde::Deserialize;

use super::request::{Call, Request, call, some};
use crate::builder::amazon::tags::{self, Tags};
use crate::builder::amazon::{Client, wrong};
use crate::engine::BuildCx;
use crate::error::Result;

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SetTags {
    ids: Vec<String>,
    tags: Tags,
}

impl Request for SetTags {
    type Answer = ();
    const NAME: &'static str = "tag";
    const FIRST: Option<&'static str> = Some("ids");
    const CLASS: Option<&'static str> = Some("rimg.AmazonTagOptions");

    fn check(&self) -> Result<()> {
        some("ids", &self.ids)?;
        if self.tags.is_empty() {
            return Err(wrong("tags", "is required"));
        }
        tags::check("tags", &self.tags)
    }

    fn actions(&self) -> Vec<&'static str> {
        vec!["ec2:CreateTags"]
    }

    fn pretended(&self) {}

    async fn ask(self, client: &Client, _: &BuildCx) -> Result<()> {
        let request = client.ec2.create_tags().set_resources(Some(self.ids)).set_tags(Some(tags::to_sdk(&self.tags)));
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(client.failed("ec2:CreateTags", error).await),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Untag {
    ids: Vec<String>,
    keys: Vec<String>,
}

impl Request for Untag {
    type Answer = ();
    const NAME: &'static str = "untag";
    const FIRST: Option<&'static str> = Some("ids");
    const CLASS: Option<&'static str> = Some("rimg.AmazonUntagOptions");

    fn check(&self) -> Result<()> {
        some("ids", &self.ids)?;
        // Without a name, AWS takes all of them away.
        some("keys", &self.keys)
    }

    fn actions(&self) -> Vec<&'static str> {
        vec!["ec2:DeleteTags"]
    }

    fn pretended(&self) {}

    async fn ask(self, client: &Client, _: &BuildCx) -> Result<()> {
        let tags = self.keys.iter().map(|key| Tag::builder().key(key).build()).collect();
        match client.ec2.delete_tags().set_resources(Some(self.ids)).set_tags(Some(tags)).send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(client.failed("ec2:DeleteTags", error).await),
        }
    }
}

pub const CALLS: &[Call] = &[call::<SetTags>(), call::<Untag>()];
