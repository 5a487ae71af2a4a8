//! Requests signed for another region: an encrypted snapshot is copied with one that the source's region has to honour.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use reqwest::Url;

use super::{Client, wrong};
use crate::error::{Context, Kind, Result};

/// How long AWS may take to use it.
const GOOD_FOR: Duration = Duration::from_secs(3600);

/// What is copied, and where to.
struct Copy<'a> {
    snapshot: &'a str,
    from: &'a str,
    to: &'a str,
}

/// Returns the request that copies a snapshot, as the region it is in is asked for it; none within a region.
pub async fn copy_snapshot(client: &Client, snapshot: &str, from: &str) -> Result<Option<String>> {
    if *client.region == *from {
        return Ok(None);
    }
    let copy = Copy { snapshot, from, to: &client.region };
    let signed = signed(&copy, client.credentials().await?, SystemTime::now())?;
    Ok(Some(signed.into()))
}

fn signed(copy: &Copy<'_>, credentials: Credentials, time: SystemTime) -> Result<Url> {
    const MESSAGE: &str = "the request for an encrypted copy cannot be signed";
    // China is another Amazon.
    let cloud = if copy.from.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    let url = Url::parse(&format!("https://ec2.{}.{cloud}/", copy.from));
    let mut url = url.map_err(|_| wrong("source_region", format_args!("{:?} is no region", copy.from)))?;
    url.query_pairs_mut()
        .append_pair("Action", "CopySnapshot")
        .append_pair("DestinationRegion", copy.to)
        .append_pair("SourceRegion", copy.from)
        .append_pair("SourceSnapshotId", copy.snapshot)
        .append_pair("Version", "2016-11-15");
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(GOOD_FOR);
    let identity = credentials.into();
    let parameters = SigningParams::builder()
        .identity(&identity)
        .region(copy.from)
        .name("ec2")
        .time(time)
        .settings(settings)
        .build()
        .context(Kind::Internal, MESSAGE)?
        .into();
    let request = SignableRequest::new("GET", url.as_str(), std::iter::empty(), SignableBody::Bytes(&[]));
    let request = request.context(Kind::Internal, MESSAGE)?;
    let (instructions, _) = sign(request, &parameters).context(Kind::Internal, MESSAGE)?.into_parts();
    url.query_pairs_mut().extend_pairs(instructions.params());
    Ok(url)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_source_is_asked_in_our_name() {
        let copy = Copy { snapshot: "snap-1", from: "us-east-1", to: "eu-west-1" };
        let credentials = Credentials::new("AKID", "secret", Some("a+b/c=".into()), None, "a test");
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        let url = signed(&copy, credentials.clone(), time).unwrap();
        assert_eq!(url.host_str(), Some("ec2.us-east-1.amazonaws.com"));
        let query: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        for (name, value) in [
            ("Action", "CopySnapshot"),
            ("SourceSnapshotId", "snap-1"),
            ("DestinationRegion", "eu-west-1"),
            ("X-Amz-Credential", "AKID/20260101/us-east-1/ec2/aws4_request"),
            ("X-Amz-Date", "20260101T000000Z"),
            ("X-Amz-Expires", "3600"),
            ("X-Amz-Security-Token", "a+b/c="),
        ] {
            assert_eq!(query.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert_eq!(query["X-Amz-Signature"].len(), 64);
        assert!(!url.as_str().contains("secret"));
        let other = Copy { to: "eu-west-2", ..copy };
        let again = signed(&other, credentials.clone(), time).unwrap();
        assert!(!again.as_str().contains(&query["X-Amz-Signature"]));
        let china = signed(&Copy { from: "cn-north-1", ..other }, credentials, time).unwrap();
        assert_eq!(china.host_str(), Some("ec2.cn-north-1.amazonaws.com.cn"));
    }
}
