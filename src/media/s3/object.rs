//! One object, and the URL by which it can be had for a while.

use std::fmt;
use std::time::Duration;

use reqwest::Url;
use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};

use super::credentials::{Access, Keys};
use crate::error::{Error, Kind, Result};
use crate::ui::Ui;

/// How long a signed URL is good for: the beginning of one transfer.
const VALID: Duration = Duration::from_secs(15 * 60);
/// Where buckets are unless it is said.
const REGION: &str = "us-east-1";

/// An object's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    pub bucket: String,
    pub key: String,
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

impl Object {
    /// Parses `s3://bucket/key`; the key is taken as it is, not percent-decoded, as AWS' own tools do.
    pub fn parse(text: &str) -> Result<Object> {
        let wrong = |why: &str| {
            Error::new(Kind::Option, format!("{text:?} does not name an object in S3: {why}"))
                .hint("write s3://bucket/path/of/the/object")
        };
        let rest = text.split_once("://").map(|(_, rest)| rest).unwrap_or_default();
        let (bucket, key) = rest.split_once('/').ok_or_else(|| wrong("it has no key after the bucket"))?;
        if bucket.is_empty() || !bucket.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) {
            return Err(wrong("its bucket may have letters, digits, dots and dashes"));
        }
        if key.is_empty() || key.ends_with('/') {
            return Err(wrong("its key names no object"));
        }
        Ok(Object { bucket: bucket.to_owned(), key: key.to_owned() })
    }

    /// Returns the object of that name in the same folder.
    pub fn beside(&self, name: &str) -> Object {
        let folder = self.key.rsplit_once('/').map(|(folder, _)| format!("{folder}/")).unwrap_or_default();
        Object { bucket: self.bucket.clone(), key: format!("{folder}{name}") }
    }

    /// Returns a URL signed with what the environment or the profile has (AWS Signature Version 4, query parameters);
    /// `region` is what the server has said to be right.
    pub fn signed(&self, region: Option<&str>, ui: &Ui) -> Result<Url> {
        let access = Access::find()?;
        self.sign(&access, region, ui)
    }

    fn sign(&self, access: &Access, region: Option<&str>, ui: &Ui) -> Result<Url> {
        let region = region.or(access.region.as_deref()).unwrap_or(REGION).to_owned();
        let wrong = |endpoint: &str| Error::new(Kind::Option, format!("{self}: {endpoint:?} is no endpoint of S3"));
        let (endpoint, own) = match &access.endpoint {
            Some(endpoint) => (endpoint.clone(), true),
            None => (endpoint_of(&region), false),
        };
        // A dot in a bucket's name does not fit the certificate of `BUCKET.s3…`.
        let style = if own || self.bucket.contains('.') { UrlStyle::Path } else { UrlStyle::VirtualHost };
        let url = Url::parse(&endpoint).map_err(|e| wrong(&endpoint).caused_by(e))?;
        let bucket = Bucket::new(url, style, self.bucket.clone(), region).map_err(|e| wrong(&endpoint).caused_by(e))?;
        let credentials = access.keys.as_ref().map(|Keys { id, secret, token }| {
            ui.secrets().add(secret);
            match token {
                Some(token) => {
                    ui.secrets().add(token);
                    Credentials::new_with_token(id, secret, token)
                }
                None => Credentials::new(id, secret),
            }
        });
        Ok(bucket.get_object(credentials.as_ref(), &self.key).sign(VALID))
    }
}

/// Returns a region's own endpoint; China's are in a domain of their own.
fn endpoint_of(region: &str) -> String {
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    format!("https://s3.{region}.{domain}")
}

/// Returns what an answer of S3 that is no success says: its code and message (`<Error><Code>…`).
pub fn reason(body: &str) -> Option<String> {
    let of = |tag: &str| {
        let (_, rest) = body.split_once(&format!("<{tag}>"))?;
        rest.split_once(&format!("</{tag}>")).map(|(text, _)| text.trim().to_owned())
    };
    let code = of("Code")?;
    Some(of("Message").map_or_else(|| code.clone(), |message| format!("{code}: {message}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_as_they_are() {
        let object = Object::parse("S3://images/a b/x%20y.iso").unwrap();
        assert_eq!((object.bucket.as_str(), object.key.as_str()), ("images", "a b/x%20y.iso"));
        assert_eq!(object.beside("SHA256SUMS").to_string(), "s3://images/a b/SHA256SUMS");
        for bad in ["s3://", "s3://images", "s3://images/", "s3://images/a/", "s3:///x", "s3://a b/c", "s3://u:p@x/y"] {
            assert_eq!(Object::parse(bad).unwrap_err().kind(), Kind::Option, "{bad}");
        }
    }

    #[test]
    fn urls_go_where_the_object_is() {
        let ui = Ui::silent();
        let object = Object::parse("s3://images/a/x.iso").unwrap();
        let url = object.sign(&Access::default(), None, &ui).unwrap();
        assert_eq!(url.as_str(), "https://images.s3.us-east-1.amazonaws.com/a/x.iso");
        let keys = Keys { id: "AK".into(), secret: "topsecret".into(), token: Some("tok".into()) };
        let access = Access { keys: Some(keys), region: Some("cn-north-1".into()), endpoint: None };
        let url = object.sign(&access, Some("cn-south-1"), &ui).unwrap();
        assert_eq!(url.host_str(), Some("images.s3.cn-south-1.amazonaws.com.cn"));
        let query: std::collections::BTreeMap<_, _> = url.query_pairs().collect();
        assert!(query["X-Amz-Credential"].starts_with("AK/") && query["X-Amz-Security-Token"] == "tok", "{url}");
        assert!(!ui.secrets().mask("topsecret").contains("topsecret"));
        let access = Access { endpoint: Some("http://127.0.0.1:9000/base".into()), ..Access::default() };
        assert_eq!(object.sign(&access, None, &ui).unwrap().as_str(), "http://127.0.0.1:9000/base/images/a/x.iso");
        let access = Access { endpoint: Some("127.0.0.1:9000".into()), ..Access::default() };
        assert_eq!(object.sign(&access, None, &ui).unwrap_err().kind(), Kind::Option);
    }

    #[test]
    fn a_refusal_gives_its_reason() {
        let body = "<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code><Message>It is not there.</Message></Error>";
        assert_eq!(reason(body).as_deref(), Some("NoSuchKey: It is not there."));
        assert_eq!(reason("<html>"), None);
    }
}
