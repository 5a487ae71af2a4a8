//! What a build leaves in an account: an image in each region.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::image_options::ImageOptions;
use super::{AccessOptions, Client, made};
use crate::engine::options::OptionTable;
use crate::engine::{Artifact, Value};
use crate::error::Result;

/// An image of one region, and the snapshots it stands on.
pub struct Regional {
    pub region: String,
    pub id: String,
    pub snapshots: Vec<String>,
}

/// Returns the artifact of images; Packer's id of it, and the ids by region for scripts.
pub fn of(builder: &str, images: Vec<Regional>, build: String) -> Artifact {
    let ids: Vec<String> = images.iter().map(|image| format!("{}:{}", image.region, image.id)).collect();
    let (mut by_region, mut snapshots) = (Map::new(), Map::new());
    for image in images {
        by_region.insert(image.region.clone(), image.id.into());
        snapshots.insert(image.region, image.snapshots.into());
    }
    Artifact {
        id: ids.join(","),
        kind: "image".into(),
        builder: builder.into(),
        build,
        files: Vec::new(),
        metadata: BTreeMap::from([
            ("images".to_owned(), Json::Object(by_region)),
            ("snapshots".to_owned(), Json::Object(snapshots)),
        ]),
    }
}

/// Returns one of images that nobody has made, in the region `own` and those that they would be copied to.
pub fn pretended(builder: &str, image: &ImageOptions, own: &str, build: String) -> Artifact {
    let own = Some(own).filter(|_| !image.skip_save_build_region);
    let others = image.ami_regions.iter().map(String::as_str).filter(|region| Some(*region) != own);
    let regions = own.into_iter().chain(others).filter(|_| !image.skip_create_ami);
    of(builder, regions.map(pretended_in).collect(), build)
}

/// Returns an image that nobody has made.
pub fn pretended_in(region: &str) -> Regional {
    Regional {
        region: region.to_owned(),
        id: "ami-0123456789abcdef0".to_owned(),
        snapshots: vec!["snap-0123456789abcdef0".to_owned()],
    }
}

/// Removes the images of an artifact, and their snapshots; those that are gone already are fine.
pub async fn destroy(options: Value, artifact: Artifact) -> Result<()> {
    let mut table = OptionTable::new("destroy", options)?;
    let client = Client::connect(&table.take::<AccessOptions>()?).await?;
    let of = |name: &str| artifact.metadata.get(name).and_then(|of| of.as_object()).cloned().unwrap_or_default();
    let (images, snapshots) = (of("images"), of("snapshots"));
    for (region, id) in &images {
        let client = client.in_region(region);
        made::deregister(&client, id.as_str().unwrap_or_default()).await?;
        let of_image = snapshots.get(region).and_then(|ids| ids.as_array()).into_iter().flatten();
        for snapshot in of_image.filter_map(|id| id.as_str()) {
            made::delete_snapshot(&client, snapshot).await?;
        }
    }
    Ok(())
}
