//! An image copied to another region, or encrypted in its own.

use aws_sdk_ec2::types::ResourceType;
use futures_util::future::join_all;

use super::Client;
use super::capture::{Captured, tags_of};
use super::existing;
use super::image_access;
use super::image_options::ImageOptions;
use super::made::{Made, Sort};
use super::tags;
use super::wait::{self, snapshots_of};
use crate::engine::BuildCx;
use crate::error::{Error, Kind, Result};

/// What the copies have in common.
pub struct Wanted<'a> {
    pub name: &'a str,
    /// The region it is copied from.
    pub client: &'a Client,
    pub id: &'a str,
    pub options: &'a ImageOptions,
    pub cx: &'a BuildCx,
}

impl Wanted<'_> {
    /// Makes the copies of all these regions, side by side, waits until they are there, and shares them. Where one fails,
    /// the others are of no use.
    pub async fn make(&self, regions: impl Iterator<Item = &str>) -> Result<Vec<Captured>> {
        let copies = join_all(regions.map(async |region| (region, self.copied(region).await))).await;
        let (mut done, mut failures) = (Vec::new(), Vec::new());
        for (region, copied) in copies {
            match copied {
                Ok(copied) => done.push(copied),
                Err(error) => failures.push((region, error)),
            }
        }
        match failures.pop() {
            None => Ok(done),
            Some((region, error)) => Err(incomplete(region, error, &failures, &done)),
        }
    }

    async fn copied(&self, region: &str) -> Result<Captured> {
        let (options, cx) = (self.options, self.cx);
        let client = self.client.in_region(region);
        let here = client.region == self.client.region;
        if options.force_deregister && !here {
            existing::replace(&client, self.name, options.force_delete_snapshot).await?;
        }
        let made = Made::enter(&client, Sort::Image, cx).await?;
        let (image_tags, snapshot_tags) = tags_of(&made, options, self.name, cx);
        let key = options.region_kms_key_ids.get(region).or(options.kms_key_id.as_ref().filter(|_| here));
        let request = client
            .ec2
            .copy_image()
            .source_region(&*self.client.region)
            .source_image_id(self.id)
            .name(self.name)
            .set_description(options.ami_description.clone())
            .client_token(&made.thing.mark)
            .set_encrypted(options.encrypt_boot)
            .set_kms_key_id(key.cloned())
            .set_snapshot_copy_completion_duration_minutes(options.snapshot_copy_duration_minutes)
            .set_tag_specifications(tags::specifications(&[
                (ResourceType::Image, &image_tags),
                (ResourceType::Snapshot, &snapshot_tags),
            ]));
        let id = match request.send().await {
            Ok(answer) => answer.image_id,
            Err(e) => return Err(client.failed("ec2:CopyImage", e).await),
        };
        let id = id.ok_or_else(|| Error::new(Kind::Cloud, "AWS copies an image, and did not say to which"))?;
        made.is(&id);
        let image = wait::image_copied(&client, &id, client.patience(None, wait::IMAGE), cx).await?;
        let copied = Captured { snapshots: snapshots_of(&image), client, id, made };
        image_access::apply(&copied, options).await?;
        Ok(copied)
    }
}

/// Says which copies have failed, and what becomes of the others.
fn incomplete(region: &str, error: Error, others: &[(&str, Error)], done: &[Captured]) -> Error {
    let mut error = error.within(format_args!("the copy to {region}"));
    for (region, other) in others {
        error = error.hint(format!("so did the copy to {region}: {other}"));
    }
    let done: Vec<&str> = done.iter().map(|image| &*image.client.region).collect();
    match done.is_empty() {
        true => error,
        false => error.hint(format!(
            "the copies in {} were made, and are removed again: std.aws.copy_to_regions keeps what it has made",
            done.join(", ")
        )),
    }
}
