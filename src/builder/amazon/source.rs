//! The image that an instance starts from.

use aws_sdk_ec2::types::Image;

use super::Client;
use super::error::is_not_found;
use super::run_options::AmiFilter;
use super::wrong;
use crate::error::{Error, Kind, Result};

/// What names or finds a source image: the options `source_ami` and `source_ami_filter`.
pub type Wanted<'a> = (Option<&'a str>, Option<&'a AmiFilter>);

/// Checks what can be told without asking anybody.
pub fn check(wanted: Wanted<'_>) -> Result<()> {
    match wanted {
        (None, None) => {
            Err(wrong("source_ami", "is required, or `source_ami_filter`: the image to start from")
                .hint("source_ami_filter = { filters = { name = \"debian-12-amd64-*\" }, owners = { \"136693071363\" }, most_recent = true }"))
        }
        (Some(_), Some(_)) => Err(wrong("source_ami_filter", "finds an image, and `source_ami` names one")),
        (None, Some(filter)) if filter.owners.is_empty() => {
            Err(wrong("source_ami_filter.owners", "is required: anybody may publish an image under any name")
                .hint("owners = { \"amazon\" }, { \"self\" }, or the publisher's account id"))
        }
        _ => Ok(()),
    }
}

/// Finds the source image in the client's region.
pub async fn find(client: &Client, wanted: Wanted<'_>) -> Result<Image> {
    match wanted {
        (Some(id), _) => by_id(client, id).await,
        (None, Some(filter)) => by_filter(client, filter).await,
        (None, None) => Err(Error::new(Kind::Option, "option `source_ami` is required")),
    }
}

async fn by_id(client: &Client, id: &str) -> Result<Image> {
    let unknown = || {
        Error::new(Kind::Option, format!("option `source_ami`: there is no image {id} in {}", client.region))
            .field("option", "source_ami")
            .hint("an image has another id in each region: source_ami_filter finds it by its name")
    };
    match client.ec2.describe_images().image_ids(id).send().await {
        Ok(answer) => answer.images.unwrap_or_default().into_iter().next().ok_or_else(unknown),
        Err(e) if is_not_found(&e) => Err(unknown()),
        Err(e) => Err(client.failed("ec2:DescribeImages", e).await),
    }
}

async fn by_filter(client: &Client, filter: &AmiFilter) -> Result<Image> {
    let mut pages = client
        .ec2
        .describe_images()
        .set_owners(Some(filter.owners.clone()))
        .set_filters(filter.filters.request())
        .set_include_deprecated(filter.include_deprecated.then_some(true))
        .into_paginator()
        .items()
        .send();
    let mut found = Vec::new();
    while let Some(image) = pages.next().await {
        match image {
            Ok(image) => found.push(image),
            Err(e) => return Err(client.failed("ec2:DescribeImages", e).await),
        }
    }
    choose(found, filter, &client.region)
}

/// Takes the one that was found, or the newest of several where that is wanted.
fn choose(mut found: Vec<Image>, filter: &AmiFilter, region: &str) -> Result<Image> {
    let wrong = |what: String| {
        Error::new(Kind::Option, format!("option `source_ami_filter`: {what}")).field("option", "source_ami_filter")
    };
    let asked = format!("with {}, of {}, in {region}", filter.filters, filter.owners.join(" or "));
    if found.len() > 1 && !filter.most_recent {
        let names: Vec<&str> = found.iter().take(3).filter_map(Image::name).collect();
        return Err(wrong(format!("{} images {asked}: {}, …", found.len(), names.join(", ")))
            .hint("most_recent = true takes the newest of them"));
    }
    // Times of one form: the order of their texts is theirs.
    found.sort_by(|a, b| a.creation_date().cmp(&b.creation_date()));
    found.pop().ok_or_else(|| {
        wrong(format!("there is no image {asked}"))
            .hint("include_deprecated = true finds deprecated ones of others, too")
            .hint("names and owners differ between partitions, and images between regions")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_taken_where_that_is_wanted() {
        let image = |id: &str, at: &str| Image::builder().image_id(id).name(id).creation_date(at).build();
        let found = || {
            vec![
                image("a", "2026-03-01T00:00:00.000Z"),
                image("b", "2026-11-01T00:00:00.000Z"),
                image("c", "2025-01-01T00:00:00.000Z"),
            ]
        };
        let newest = AmiFilter { most_recent: true, ..Default::default() };
        assert_eq!(choose(found(), &newest, "r").unwrap().image_id(), Some("b"));
        let error = choose(found(), &AmiFilter::default(), "r").unwrap_err();
        assert!(error.message().contains("3 images") && error.hints().iter().any(|hint| hint.contains("most_recent")));
        assert!(choose(Vec::new(), &newest, "r").is_err());
    }
}
