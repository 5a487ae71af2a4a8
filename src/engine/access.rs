//! How a person gets into a machine from elsewhere: written down by the run that made it, read by `rimg ssh`.

use serde::{Deserialize, Serialize};

/// The way into a machine, as its communicator understands it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Access {
    /// Which communicator: `ssh`.
    pub communicator: String,
    /// Where, as whom and with what, secrets included.
    pub details: serde_json::Value,
}
