//! The regions of an account.

use super::{Client, wrong};
use crate::engine::options::did_you_mean;
use crate::error::Result;

/// Checks that an account can use the regions that an option names.
pub async fn check(client: &Client, option: &str, wanted: &[String]) -> Result<()> {
    let known = names(client, false).await?;
    let Some(unknown) = wanted.iter().find(|region| !known.contains(region)) else { return Ok(()) };
    let error = wrong(option, format!("the account has no region {unknown:?}"));
    let names: Vec<&str> = known.iter().map(String::as_str).collect();
    Err(match did_you_mean(unknown, &names) {
        Some(hint) => error.hint(hint),
        None => error.hint("a region that is off by default must be enabled in the account first"),
    })
}

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
