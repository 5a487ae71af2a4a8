//! `iso_url` and its companions: the medium that an operating system is installed from.

use std::path::PathBuf;

use serde::Deserialize;

use super::checksum::Checksum;
use super::download::Wanted;
use crate::engine::BuildCx;
use crate::error::{Error, Kind, Result};

/// Where the installation medium comes from. Names are Packer's.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IsoOptions {
    /// The medium: a path, or a URL of `http`, `https`, `s3` or `file`.
    pub iso_url: Option<String>,
    /// Several places to get it from, tried in order, in place of `iso_url`.
    pub iso_urls: Vec<String>,
    /// Its checksum: `sha256:…`, bare hexadecimal, `file:URL` or `none`. Required with `iso_url` or `iso_urls`.
    pub iso_checksum: Option<String>,
    /// Where a download is put, relative to the script; default: in the cache.
    pub iso_target_path: Option<PathBuf>,
    /// The extension of a download in the cache; default: its URL's.
    pub iso_target_extension: Option<String>,
}

impl IsoOptions {
    /// Tells whether a medium is given.
    pub fn is_given(&self) -> bool {
        self.iso_url.is_some() || !self.iso_urls.is_empty()
    }

    /// Checks what can be known before anything starts.
    pub fn validate(&self, cx: &BuildCx) -> Result<()> {
        let wanted = self.wanted()?;
        if !self.is_given() {
            let companions = [
                ("iso_checksum", self.iso_checksum.is_some()),
                ("iso_target_path", self.iso_target_path.is_some()),
                ("iso_target_extension", self.iso_target_extension.is_some()),
            ];
            return match companions.iter().find(|(_, given)| *given) {
                Some((name, _)) => Err(option(name, "is of no use without a medium").hint("give `iso_url` as well")),
                None => Ok(()),
            };
        }
        if let Some(path) = &self.iso_target_path {
            let path = cx.settings.resolve(path);
            if path.is_dir() || path.file_name().is_none() {
                let message = format!("{} is a folder, and has to be the path of the file", path.display());
                return Err(option("iso_target_path", message));
            }
        }
        if let Some(extension) = &self.iso_target_extension {
            let plain = (1..=8).contains(&extension.len()) && extension.bytes().all(|b| b.is_ascii_alphanumeric());
            if !plain {
                let message = format!("expected up to 8 letters and digits, found {extension:?}");
                return Err(option("iso_target_extension", message).hint("without the dot: \"iso\""));
            }
        }
        wanted.validate(cx).map_err(|e| self.named(e))
    }

    fn wanted(&self) -> Result<Wanted> {
        if self.iso_url.is_some() && !self.iso_urls.is_empty() {
            return Err(option("iso_urls", "cannot be given together with `iso_url`")
                .hint("put the first place to try at the beginning of `iso_urls`"));
        }
        let checksum = match &self.iso_checksum {
            Some(text) => Checksum::parse(text).map_err(|e| e.within("option `iso_checksum`"))?,
            None if self.is_given() => {
                return Err(option("iso_checksum", "is required")
                    .hint("iso_checksum = \"sha256:…\", or \"file:URL\" of the publisher's checksum file")
                    .hint("iso_checksum = \"none\" takes the medium unchecked"));
            }
            None => Checksum::None,
        };
        let urls = self.iso_url.iter().chain(&self.iso_urls).cloned().collect();
        Ok(Wanted {
            target_path: self.iso_target_path.clone(),
            extension: self.iso_target_extension.clone(),
            ..Wanted::new(urls, checksum)
        })
    }

    fn named(&self, error: Error) -> Error {
        error.within(if self.iso_url.is_some() { "option `iso_url`" } else { "option `iso_urls`" })
    }

    /// Returns the path of the medium on this host, downloaded and checked; none when none is given.
    pub async fn fetch(&self, cx: &BuildCx) -> Result<Option<PathBuf>> {
        if !self.is_given() {
            return Ok(None);
        }
        self.wanted()?.fetch(cx).await.map(Some).map_err(|e| self.named(e))
    }
}

fn option(name: &str, message: impl std::fmt::Display) -> Error {
    Error::new(Kind::Option, format!("option `{name}`: {message}"))
}
