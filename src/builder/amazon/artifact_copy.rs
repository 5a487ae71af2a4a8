//! `artifact:copy_to(…)`: the images of an artifact in more regions.

use super::artifact::{self, Regional};
use super::image_options::ImageOptions;
use super::{AccessOptions, Client, actions, capture, copy, regions, wait};
use crate::engine::options::OptionTable;
use crate::engine::{Artifact, BuildCx, Value};
use crate::error::{Error, Kind, Result};

/// Copies the image of an artifact to these regions, side by side; one that it is in already is not copied again. The copies
/// are made as those of `ami_regions` are, by the options that the build had.
pub async fn copy_artifact(options: Value, wanted: Vec<String>, artifact: Artifact, cx: BuildCx) -> Result<Artifact> {
    let mut table = OptionTable::new("artifact:copy_to", options)?;
    let access: AccessOptions = table.take()?;
    let mut image = ImageOptions { ami_regions: wanted, ..table.take()? };
    let there = by_region(&artifact);
    let is_there = |region: &str| there.iter().any(|image| image.region == region);
    // The build had keys for its own regions.
    image.region_kms_key_ids.retain(|region, _| image.ami_regions.contains(region) || !is_there(region));
    image.validate()?;
    let missing: Vec<&str> = image.ami_regions.iter().map(String::as_str).filter(|region| !is_there(region)).collect();
    let Some(first) = there.first() else {
        return Err(Error::new(Kind::Unsupported, "artifact:copy_to: this artifact has no image to copy"));
    };
    let copies = if cx.settings.is_live() {
        let client = Client::connect(&access).await?;
        if !image.skip_region_validation {
            regions::check(&client, "regions", &image.ami_regions).await?;
        }
        // What is nearest to the build is what it made itself.
        let source = there.iter().find(|image| *image.region == *client.region).unwrap_or(first);
        copies(&client.in_region(&source.region), source, &missing, &image, &cx).await?
    } else {
        cx.settings.needs.note(actions::copy(&image));
        missing.iter().map(|region| artifact::pretended_in(region)).collect()
    };
    let images = there.into_iter().chain(copies).collect();
    let copied = artifact::of(&artifact.builder, images, artifact.build);
    Ok(Artifact { metadata: artifact.metadata.into_iter().chain(copied.metadata).collect(), ..copied })
}

async fn copies(
    client: &Client,
    source: &Regional,
    regions: &[&str],
    options: &ImageOptions,
    cx: &BuildCx,
) -> Result<Vec<Regional>> {
    let image = wait::image_available(client, &source.id, client.patience(None, wait::IMAGE), cx).await?;
    let name = image.name().unwrap_or(&source.id);
    let wanted = copy::Wanted { name, client, id: &source.id, options, cx };
    capture::finished(wanted.make(regions.iter().copied()).await?, options, cx).await
}

fn by_region(artifact: &Artifact) -> Vec<Regional> {
    let of = |name: &str| artifact.metadata.get(name).and_then(|of| of.as_object()).cloned().unwrap_or_default();
    let snapshots = of("snapshots");
    let snapshots_of = |region: &str| {
        let ids = snapshots.get(region).and_then(|ids| ids.as_array()).into_iter().flatten();
        ids.filter_map(|id| id.as_str().map(str::to_owned)).collect()
    };
    of("images")
        .into_iter()
        .filter_map(|(region, id)| {
            let id = id.as_str()?.to_owned();
            Some(Regional { snapshots: snapshots_of(&region), region, id })
        })
        .collect()
}
