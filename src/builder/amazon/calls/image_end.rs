//! The end of an image, and of the snapshots that it stood on.

use serde::Deserialize;

use super::request::{Call, Request, call, required};
use crate::builder::amazon::error::{code, is_not_found};
use crate::builder::amazon::{Client, wait};
use crate::engine::BuildCx;
use crate::error::Result;

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct DeregisterImage {
    image_id: String,
    delete_snapshots: Option<bool>,
}

impl DeregisterImage {
    fn deletes(&self) -> bool {
        self.delete_snapshots.unwrap_or(true)
    }
}

impl Request for DeregisterImage {
    type Answer = ();
    const NAME: &'static str = "deregister_image";
    const FIRST: Option<&'static str> = Some("image_id");
    const CLASS: Option<&'static str> = Some("rimg.AmazonDeregisterImageOptions");

    fn check(&self) -> Result<()> {
        required("image_id", &self.image_id)
    }

    fn actions(&self) -> Vec<&'static str> {
        match self.deletes() {
            true => vec!["ec2:DeregisterImage", "ec2:DescribeImages", "ec2:DeleteSnapshot"],
            false => vec!["ec2:DeregisterImage"],
        }
    }

    fn pretended(&self) {}

    async fn ask(self, client: &Client, _: &BuildCx) -> Result<()> {
        let deletes = self.deletes();
        deregister(client, &self.image_id, deletes).await
    }
}

/// Removes an image and, if so wanted, its snapshots, which only the image itself tells.
pub async fn deregister(client: &Client, image_id: &str, with_snapshots: bool) -> Result<()> {
    let mut snapshots = Vec::new();
    if with_snapshots {
        match client.ec2.describe_images().image_ids(image_id).include_deprecated(true).send().await {
            Ok(answer) => snapshots = answer.images().iter().flat_map(wait::snapshots_of).collect(),
            // What follows says that there is no such image.
            Err(error) if is_not_found(&error) => {}
            Err(error) => return Err(client.failed("ec2:DescribeImages", error).await),
        }
    }
    if let Err(error) = client.ec2.deregister_image().image_id(image_id).send().await {
        return Err(client.failed("ec2:DeregisterImage", error).await);
    }
    for snapshot in snapshots {
        match client.ec2.delete_snapshot().snapshot_id(&snapshot).send().await {
            Ok(_) => {}
            // Another image stands on it; or somebody was faster.
            Err(error) if code(&error) == Some("InvalidSnapshot.InUse") || is_not_found(&error) => {}
            Err(error) => {
                let failed = client.failed("ec2:DeleteSnapshot", error).await;
                return Err(failed.within(format_args!("{image_id} is gone, its snapshot {snapshot} is not")));
            }
        }
    }
    Ok(())
}

pub const CALLS: &[Call] = &[call::<DeregisterImage>()];
