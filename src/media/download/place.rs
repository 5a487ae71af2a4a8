//! Where something is, as users name it.

use std::path::PathBuf;

use reqwest::Url;

use super::remote::Remote;
use crate::engine::BuildCx;
use crate::error::{Error, Kind, Result};
use crate::media::http;
use crate::media::s3::Object;

/// Where something is.
#[derive(Debug)]
pub enum Place {
    Remote(Remote),
    Local(PathBuf),
}

impl Place {
    /// Parses a path (relative ones start at the script's folder) or a URL: `file:`, `http:`, `https:`, `s3:`.
    pub fn parse(text: &str, cx: &BuildCx) -> Result<Place> {
        if text.trim().is_empty() {
            return Err(Error::new(Kind::Option, "expected a path or a URL, found an empty text"));
        }
        if let Some(rest) = text.strip_prefix("file:") {
            if rest.starts_with("//") {
                let url = Url::parse(text).ok().and_then(|url| url.to_file_path().ok());
                return url.map(Place::Local).ok_or_else(|| {
                    Error::new(Kind::Option, format!("{text:?} does not name a file of this host"))
                        .hint("write file:///absolute/path, or the path alone")
                });
            }
            return Ok(Place::Local(cx.settings.resolve(rest)));
        }
        let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        match scheme.as_deref() {
            None => Ok(Place::Local(cx.settings.resolve(text))),
            Some("http" | "https") => {
                let url = Url::parse(text).map_err(|e| {
                    Error::new(Kind::Option, format!("{:?} is not a URL", http::shown_text(text))).caused_by(e)
                })?;
                http::hide_url(&url, cx.ui.secrets());
                Ok(Place::Remote(Remote::web(url)))
            }
            Some("s3") => Object::parse(text).map(|object| Place::Remote(Remote::s3(object))),
            Some(other) => Err(Error::new(
                Kind::Unsupported,
                format!("cannot download over {other}: {:?}", http::shown_text(text)),
            )
            .hint("http, https, s3 (s3://bucket/key) and file are known")),
        }
    }
}
