//! `iso_url` and its companions: the medium that an operating system is installed from.

use std::path::PathBuf;

use serde::Deserialize;

use super::checksum::Checksum;
use super::download;
use crate::engine::BuildCx;
use crate::error::{Error, Kind, Result};

/// Where the installation medium comes from. Names are Packer's.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IsoOptions {
    /// The medium: a path or a URL.
    pub iso_url: Option<String>,
    /// Several places to get it from, tried in order.
    pub iso_urls: Vec<String>,
    /// Its checksum: `sha256:…`, bare hexadecimal, `file:URL` or `none`. Required with `iso_url` or `iso_urls`.
    pub iso_checksum: Option<String>,
}

impl IsoOptions {
    /// Tells whether a medium is given.
    pub fn is_given(&self) -> bool {
        self.iso_url.is_some() || !self.iso_urls.is_empty()
    }

    /// Checks what can be known before anything starts.
    pub fn validate(&self, _cx: &BuildCx) -> Result<()> {
        self.checksum().map(drop)
    }

    fn checksum(&self) -> Result<Checksum> {
        match &self.iso_checksum {
            Some(text) => Checksum::parse(text).map_err(|e| e.within("option `iso_checksum`")),
            None if self.is_given() => Err(Error::new(Kind::Option, "option `iso_checksum`: is required")
                .hint("iso_checksum = \"sha256:…\", or \"file:URL\" of the publisher's checksum file")),
            None => Ok(Checksum::None),
        }
    }

    /// Returns the path of the medium on this host, downloaded and checked; none when none is given.
    pub async fn fetch(&self, cx: &BuildCx) -> Result<Option<PathBuf>> {
        let checksum = self.checksum()?;
        match self.iso_url.iter().chain(&self.iso_urls).next() {
            Some(url) => download::fetch(url, &checksum, cx).await.map(Some),
            None => Ok(None),
        }
    }
}
