//! `floppy_files` and its companions: a floppy that is made for the machine.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::fat::Floppy;
use super::inline::InlineFiles;
use super::medium::{Medium, Rule};
use crate::engine::BuildCx;
use crate::engine::placeholders::Placeholders;
use crate::error::{Error, Result};
use crate::host::blocking::{self, Cancel};

/// What is on the medium, 1.44 MB at most. Names are Packer's.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FloppyOptions {
    /// Files and globs, and folders whose files are all put into the root.
    pub floppy_files: Vec<String>,
    /// Folders and globs that are on the floppy as they are, under their own names.
    pub floppy_dirs: Vec<String>,
    /// Contents by their paths on the floppy, with placeholders filled in, also functions that return them. They take the
    /// place of files of the same path.
    pub floppy_content: InlineFiles,
    /// The floppy's label. Default `packer`.
    pub floppy_label: Option<String>,
}

impl FloppyOptions {
    /// Tells whether a medium is to be made.
    pub fn is_given(&self) -> bool {
        !self.floppy_files.is_empty() || !self.floppy_dirs.is_empty() || !self.floppy_content.is_empty()
    }

    /// Checks what can be known before anything starts.
    pub fn validate(&self, cx: &BuildCx) -> Result<()> {
        let mut medium = self.files(&cx.settings.script_dir, &Cancel::default())?;
        medium.add_known("floppy_content", &self.floppy_content)?;
        self.floppy(&medium).map(drop)
    }

    /// Checks that contents have no other placeholders than those of `values`, whose values may be empty yet.
    pub fn check_placeholders(&self, values: &Placeholders) -> Result<()> {
        self.floppy_content.check_placeholders("floppy_content", values)
    }

    /// Returns the digests of the files of this host that are on it, by their paths there.
    pub async fn digests(&self, cx: &BuildCx) -> Result<serde_json::Value> {
        let (options, dir) = (self.clone(), cx.settings.script_dir.clone());
        blocking::run(move |cancel| options.files(&dir, cancel)).await?.digests(cx).await
    }

    /// Writes the medium to `to`, whole or not at all.
    pub async fn write(&self, to: &Path, values: &Placeholders, cx: &BuildCx) -> Result<PathBuf> {
        let (options, dir) = (self.clone(), cx.settings.script_dir.clone());
        let mut medium = blocking::run(move |cancel| options.files(&dir, cancel)).await?;
        medium.add_contents("floppy_content", &self.floppy_content, values).await?;
        let (options, to) = (self.clone(), to.to_owned());
        blocking::run(move |_| options.floppy(&medium)?.write(&to)).await
    }

    fn files(&self, dir: &Path, cancel: &Cancel) -> Result<Medium> {
        let mut medium = Medium::default();
        medium.add_files("floppy_files", &self.floppy_files, Rule::Flat, dir, cancel)?;
        medium.add_files("floppy_dirs", &self.floppy_dirs, Rule::Folders, dir, cancel)?;
        Ok(medium)
    }

    fn floppy(&self, medium: &Medium) -> Result<Floppy> {
        let label = self.floppy_label.as_deref().unwrap_or("packer");
        Floppy::new(label, medium)
            .map_err(|e: Error| e.within("floppy_files, floppy_dirs, floppy_content, floppy_label"))
    }
}
