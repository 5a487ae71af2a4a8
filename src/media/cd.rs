//! `cd_files` and its companions: a CD that is made for the machine.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::inline::InlineFiles;
use super::iso::Volume;
use super::medium::{Entry, Medium, Rule};
use crate::engine::BuildCx;
use crate::engine::placeholders::Placeholders;
use crate::error::Result;
use crate::host::blocking::{self, Cancel};
use crate::ui::event::Unit;

/// What is on the medium. Names are Packer's.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CdOptions {
    /// Files, folders and globs. A folder is on the CD under its own name; of a `folder/`, with a slash at the end, only
    /// what is in it. What links point to is copied.
    pub cd_files: Vec<String>,
    /// Contents by their paths on the CD, with placeholders filled in, also functions that return them. They take the
    /// place of `cd_files` of the same path.
    pub cd_content: InlineFiles,
    /// The CD's label: `cidata` for cloud-init, `OEMDRV` for Anaconda. Default `packer`.
    pub cd_label: Option<String>,
}

impl CdOptions {
    /// Tells whether a medium is to be made.
    pub fn is_given(&self) -> bool {
        !self.cd_files.is_empty() || !self.cd_content.is_empty()
    }

    /// Checks what can be known before anything starts.
    pub fn validate(&self, cx: &BuildCx) -> Result<()> {
        let mut medium = self.files(&cx.settings.script_dir, &Cancel::default())?;
        medium.add_known("cd_content", &self.cd_content)?;
        self.volume(&medium).map(drop)
    }

    /// Checks that contents have no other placeholders than those of `values`, whose values may be empty yet.
    pub fn check_placeholders(&self, values: &Placeholders) -> Result<()> {
        self.cd_content.check_placeholders("cd_content", values)
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
        medium.add_contents("cd_content", &self.cd_content, values).await?;
        let (volume, to) = (self.volume(&medium)?, to.to_owned());
        let size = volume.content_size()?;
        let progress = cx.ui.progress("writing the CD", Some(size), Unit::Bytes);
        let counter = progress.counter();
        blocking::run(move |cancel| volume.write_counted(&to, cancel, &counter)).await
    }

    fn files(&self, dir: &Path, cancel: &Cancel) -> Result<Medium> {
        let mut medium = Medium::default();
        medium.add_files("cd_files", &self.cd_files, Rule::Tree, dir, cancel)?;
        Ok(medium)
    }

    fn volume(&self, medium: &Medium) -> Result<Volume> {
        let label = self.cd_label.as_deref().unwrap_or("packer");
        let mut volume = Volume::new(label).map_err(|e| e.within("option `cd_label`"))?;
        for (path, entry) in medium.entries() {
            let added = match entry {
                Entry::Folder => volume.add_folder(path),
                Entry::File(content) => volume.add(path, content.clone()),
            };
            added.map_err(|e| e.within("option `cd_files`"))?;
        }
        Ok(volume)
    }
}
