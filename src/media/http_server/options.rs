//! The `http_…` options that every builder with an installer shares.

use std::path::PathBuf;

use serde::Deserialize;

use crate::engine::BuildCx;
use crate::error::Result;

/// What is served over HTTP to a machine that is being installed. Names are Packer's.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpServerOptions {
    /// A folder whose files are served.
    pub http_directory: Option<PathBuf>,
}

impl HttpServerOptions {
    /// Tells whether anything is to be served.
    pub fn is_given(&self) -> bool {
        self.http_directory.is_some()
    }

    /// Checks what can be known before anything starts.
    pub fn validate(&self, _cx: &BuildCx) -> Result<()> {
        Ok(())
    }
}
