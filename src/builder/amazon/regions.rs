//! The regions of an account.

use super::Client;
use crate::error::Result;

/// Returns the names of those that it can use, or of all that there are, sorted.
pub async fn names(client: &Client, all: bool) -> Result<Vec<String>> {
    let answer = match client.ec2.describe_regions().all_regions(all).send().await {
        Ok(answer) => answer,
        Err(error) => return Err(client.failed("ec2:DescribeRegions", error).await),
    };
    let regions = answer.regions.unwrap_or_default();
    let mut names: Vec<String> = regions.into_iter().filter_map(|region| region.region_name).collect();
    names.sort();
    Ok(names)
}
