//! Images that are there already.

use aws_sdk_ec2::types::Image;

use super::Client;
use super::filters::filter;
use super::made::{MARK, delete_snapshot, deregister};
use super::wait::snapshots_of;
use crate::error::Result;

/// Returns the account's own image of a name; names are unique in a region.
pub async fn named(client: &Client, name: &str) -> Result<Option<Image>> {
    first(client, "name", name).await
}

/// Returns the id of the image that bears a mark.
pub async fn marked(client: &Client, mark: &str) -> Result<Option<String>> {
    Ok(first(client, &format!("tag:{MARK}"), mark).await?.and_then(|image| image.image_id))
}

async fn first(client: &Client, name: &str, value: &str) -> Result<Option<Image>> {
    match client.ec2.describe_images().owners("self").filters(filter(name, [value])).send().await {
        Ok(answer) => Ok(answer.images.unwrap_or_default().into_iter().next()),
        Err(e) => Err(client.failed("ec2:DescribeImages", e).await),
    }
}

/// Removes the image of a name, and its snapshots where that is wanted.
pub async fn replace(client: &Client, name: &str, with_snapshots: bool) -> Result<()> {
    let Some(image) = named(client, name).await? else { return Ok(()) };
    let Some(id) = image.image_id() else { return Ok(()) };
    deregister(client, id).await?;
    if with_snapshots {
        for snapshot in snapshots_of(&image) {
            delete_snapshot(client, &snapshot).await?;
        }
    }
    Ok(())
}
