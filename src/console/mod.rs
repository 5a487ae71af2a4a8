//! What is done at a machine's console: typing, and reading what it shows.

pub mod boot_command;
pub mod expect;
pub mod screen;

pub use boot_command::BootOptions;

use crate::engine::{Console, Machine};
use crate::error::{Error, Kind, Result};

/// Returns a machine's console, or an error that says it has none.
pub fn of(machine: &dyn Machine) -> Result<&dyn Console> {
    machine.console().ok_or_else(|| Error::new(Kind::Unsupported, format!("{} has no console", machine.name())))
}
