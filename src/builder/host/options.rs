//! The options of `rimg.host`.

use serde::Deserialize;

/// Options of `rimg.host` beside the `ssh_…` ones.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HostOptions {
    /// The machine's name in output; the default is `ssh_host`.
    pub name: Option<String>,
}
