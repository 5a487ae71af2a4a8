//! Lua: the only code that knows mlua.

mod aftermath;
pub mod api;
pub mod builds;
pub mod callbacks;
pub mod error;
pub mod loader;
pub mod report;
pub mod run;
pub mod run_options;
pub mod runtime;
pub mod state;
pub mod value;
pub mod variables;
pub mod vendored;

#[cfg(test)]
mod annotations;
#[cfg(test)]
mod replay_tests;
#[cfg(test)]
mod tests;

pub use run::run;
pub use run_options::{Inspection, Outcome, RunOptions, VariableInfo};
