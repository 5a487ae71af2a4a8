//! Takes this machine into use.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;

use super::machine::LocalMachine;
use crate::builder::Entry;
use crate::engine::options::{decode, fields};
use crate::engine::{BuildCx, Builder, Checkpoint, Machine};
use crate::error::Result;

/// Options of `rimg.localhost`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LocalhostOptions {
    /// The machine's name in output; `localhost` by default.
    pub name: Option<String>,
}

/// The line of the registry.
pub const ENTRY: Entry = Entry {
    name: "localhost",
    class: "rimg.LocalhostOptions",
    fields: fields::<LocalhostOptions>,
    boot_options: None,
    destroy_artifact: None,
    copy_artifact: None,
    decode: |value| Ok(Arc::new(LocalhostBuilder { options: decode("rimg.localhost", value)? })),
};

/// The builder of this machine: it makes nothing, and removes nothing.
pub struct LocalhostBuilder {
    options: LocalhostOptions,
}

#[async_trait]
impl Builder for LocalhostBuilder {
    fn kind(&self) -> &'static str {
        "localhost"
    }

    fn validate(&self, _: &BuildCx) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    async fn launch(&self, _: &BuildCx, _from: Option<&Checkpoint>) -> Result<Arc<dyn Machine>> {
        Ok(Arc::new(LocalMachine::new(self.options.name.as_deref().unwrap_or("localhost"))))
    }
}
