//! An image copied to another region, or encrypted in its own.

use aws_sdk_ec2::types::ResourceType;

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
    pub source: &'a Captured,
    pub options: &'a ImageOptions,
    pub cx: &'a BuildCx,
}

impl Wanted<'_> {
    /// Makes the copy of one region, waits until it is there, and shares it; an error names the region.
    pub async fn make(&self, region: &str) -> Result<Captured, (String, Error)> {
        self.copied(region).await.map_err(|error| (region.to_owned(), error))
    }

    async fn copied(&self, region: &str) -> Result<Captured> {
        let (source, options, cx) = (self.source, self.options, self.cx);
        let client = source.client.in_region(region);
        let here = client.region == source.client.region;
        if options.force_deregister && !here {
            existing::replace(&client, self.name, options.force_delete_snapshot).await?;
        }
        let made = Made::enter(&client, Sort::Image, cx).await?;
        let (image_tags, snapshot_tags) = tags_of(&made, options, self.name, cx);
        let key = options.region_kms_key_ids.get(region).or(options.kms_key_id.as_ref().filter(|_| here));
        let request = client
            .ec2
            .copy_image()
            .source_region(&*source.client.region)
            .source_image_id(&source.id)
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
