//! Types a boot command.

use super::BootOptions;
use crate::engine::placeholders::Placeholders;
use crate::engine::{BuildCx, Console};
use crate::error::Result;

/// Waits, types and expects as the options say, with `{{ .HTTPIP }}` and its like filled in from `values`.
pub async fn run(_options: &BootOptions, _console: &dyn Console, _values: &Placeholders, _cx: &BuildCx) -> Result<()> {
    Ok(())
}
