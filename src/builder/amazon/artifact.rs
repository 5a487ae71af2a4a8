//! What a build leaves in an account: an image in each region.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use crate::engine::Artifact;

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

/// Returns one of images that nobody has made.
pub fn pretended(builder: &str, regions: &[&str], build: String) -> Artifact {
    let image = |region: &&str| Regional {
        region: (*region).to_owned(),
        id: "ami-0123456789abcdef0".to_owned(),
        snapshots: vec!["snap-0123456789abcdef0".to_owned()],
    };
    of(builder, regions.iter().map(image).collect(), build)
}
