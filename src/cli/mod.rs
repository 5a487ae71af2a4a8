//! The command line: one file a subcommand.

pub mod args;
pub mod check;
pub mod completions;
pub mod dispatch;
pub mod doctor;
pub mod init;
pub mod inspect;
pub mod logging;
pub mod out;
pub mod output;
pub mod probes;
pub mod run;
pub mod session;
pub mod signals;
pub mod types;

pub use args::Cli;
pub use dispatch::dispatch;
