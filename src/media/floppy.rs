//! `floppy_files` and its companions: a medium that is made for the machine.

use std::path::Path;

use serde::Deserialize;

use crate::engine::BuildCx;
use crate::engine::placeholders::Placeholders;
use crate::error::Result;

/// What is on the medium. Names are Packer's.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FloppyOptions {
    /// Files, folders and globs.
    pub floppy_files: Vec<String>,
}

impl FloppyOptions {
    /// Tells whether a medium is to be made.
    pub fn is_given(&self) -> bool {
        !self.floppy_files.is_empty()
    }

    /// Checks what can be known before anything starts.
    pub fn validate(&self, _cx: &BuildCx) -> Result<()> {
        Ok(())
    }

    /// Writes the medium to `to`.
    pub async fn write(&self, _to: &Path, _values: &Placeholders, _cx: &BuildCx) -> Result<()> {
        Ok(())
    }
}
