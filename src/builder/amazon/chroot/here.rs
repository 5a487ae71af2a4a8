//! The instance that rimg runs on, as its metadata service (version 2) tells it.

use std::time::Duration;

use aws_config::imds;
use aws_config::provider_config::ProviderConfig;
use serde::Deserialize;

use super::super::AccessOptions;
use super::super::http::Http;
use crate::error::{Error, Kind, Result};

/// Tells all of it at once.
const DOCUMENT: &str = "/latest/dynamic/instance-identity/document";
/// How long the service may take to answer: it is on this host, or not at all.
const LIMIT: Duration = Duration::from_secs(10);

/// This instance.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Here {
    #[serde(rename = "instanceId")]
    pub instance: String,
    pub region: String,
    #[serde(rename = "availabilityZone")]
    pub zone: String,
    pub architecture: String,
}

impl Here {
    /// Asks which instance this is.
    pub async fn find(access: &AccessOptions) -> Result<Here> {
        let no_instance = |why: String| {
            Error::new(Kind::Host, format!("this host is no EC2 instance: {why}"))
                .hint("an image is made on the instance that rimg runs on; from elsewhere, rimg.amazon.ebs launches one")
                .hint("a container on an instance is one hop more: aws ec2 modify-instance-metadata-options --http-put-response-hop-limit 2")
        };
        let is_off = std::env::var("AWS_EC2_METADATA_DISABLED").is_ok_and(|value| value.eq_ignore_ascii_case("true"));
        if is_off {
            return Err(no_instance("AWS_EC2_METADATA_DISABLED is true".to_owned()));
        }
        let provider = ProviderConfig::without_region().with_http_client(Http::new(access.insecure_skip_tls_verify)?);
        let client = imds::Client::builder().configure(&provider).max_attempts(2).build();
        let document = match tokio::time::timeout(LIMIT, client.get(DOCUMENT)).await {
            Ok(Ok(document)) => document,
            Ok(Err(error)) => {
                return Err(no_instance("its metadata service does not answer".to_owned()).caused_by(error));
            }
            Err(_) => return Err(no_instance(format!("its metadata service does not answer in {LIMIT:?}"))),
        };
        let here: Here = serde_json::from_str(document.as_ref())
            .map_err(|e| no_instance("what answers is no metadata service of EC2".to_owned()).caused_by(e))?;
        match &access.region {
            Some(region) if *region != here.region => Err(super::super::wrong(
                "region",
                format!("is {region:?}, and this instance is in {}: the image is made here", here.region),
            )
            .hint("leave `region` out, and name other regions in `ami_regions`")),
            _ => Ok(here),
        }
    }
}
