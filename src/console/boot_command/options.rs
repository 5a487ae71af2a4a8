//! The options of typing that every builder with a console shares.

use serde::Deserialize;

use crate::engine::options::TextOrFunction;
use crate::engine::{BuildCx, Seconds};
use crate::error::Result;

/// What is typed when a machine starts. Names are Packer's where the thing is the same.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BootOptions {
    /// The keys to type.
    pub boot_command: Vec<TextOrFunction>,
    /// How long to wait before the first key.
    pub boot_wait: Option<Seconds>,
}

impl BootOptions {
    /// Tells whether anything is to be typed.
    pub fn is_empty(&self) -> bool {
        self.boot_command.is_empty()
    }

    /// Checks what can be known before anything starts.
    pub fn validate(&self, _cx: &BuildCx) -> Result<()> {
        Ok(())
    }
}
