//! Lua: the only code that knows mlua.

pub mod run_options;

pub use run_options::{Inspection, Outcome, RunOptions, VariableInfo};
