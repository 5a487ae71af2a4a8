//! The regions that an account can use.

use super::Client;
use crate::error::Result;

/// Returns their names.
pub async fn all(client: &Client) -> Result<Vec<String>> {
    match client.ec2.describe_regions().send().await {
        Ok(answer) => {
            Ok(answer.regions.unwrap_or_default().into_iter().filter_map(|region| region.region_name).collect())
        }
        Err(e) => Err(client.failed("ec2:DescribeRegions", e).await),
    }
}
