//! What would refuse an image in the end, found out before anything is made for it.

use super::artifact::{self, Regional};
use super::image_options::ImageOptions;
use super::{Client, existing, regions, wait};
use crate::engine::artifact::INSTEAD;
use crate::engine::{Artifact, BuildCx};
use crate::error::{Error, Kind, Result};

/// Checks that the regions are there and that the name is free; `kind` is the builder's name.
pub async fn check(client: &Client, options: &ImageOptions, kind: &str, cx: &BuildCx) -> Result<()> {
    let Some(name) = options.ami_name.as_deref().filter(|_| !options.skip_create_ami) else { return Ok(()) };
    if !options.ami_regions.is_empty() && !options.skip_region_validation {
        regions::check(client, "ami_regions", &options.ami_regions).await?;
    }
    if options.force_deregister || options.skip_save_build_region {
        return Ok(());
    }
    let Some(image) = existing::named(client, name).await? else { return Ok(()) };
    let id = image.image_id().unwrap_or_default();
    let message = format!("there is an image {name:?} in {} already: {id}", client.region);
    let error = Error::new(Kind::Exists, message).field("image", id);
    Err(match options.skip_if_exists {
        true => {
            let (region, snapshots) = (client.region.to_string(), wait::snapshots_of(&image));
            let image = Regional { region, id: id.to_owned(), snapshots };
            instead(error, &artifact::of(kind, vec![image], cx.build.to_string()))
        }
        false => error
            .hint("a name is taken once in a region: ami_name = \"web-\" .. rimg.isotime(\"%Y%m%d-%H%M%S\")")
            .hint("force_deregister = true replaces it, skip_if_exists = true is content with it"),
    })
}

/// Says that a build need not be done, and what there is in the place of what it would make.
fn instead(error: Error, artifact: &Artifact) -> Error {
    match serde_json::to_value(artifact) {
        Ok(artifact) => error.field(INSTEAD, artifact),
        Err(e) => error.caused_by(e),
    }
}
