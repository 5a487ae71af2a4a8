//! Lua: the only code that knows mlua.

pub mod error;
pub mod run_options;
pub mod value;

pub use run_options::{Inspection, Outcome, RunOptions, VariableInfo};
