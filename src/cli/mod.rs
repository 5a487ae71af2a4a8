//! The command line: one file a subcommand.

pub mod alone;
#[cfg(feature = "amazon")]
pub mod amazon;
pub mod args;
pub mod cache;
pub mod check;
pub mod completions;
pub mod dispatch;
pub mod doctor;
pub mod download;
pub mod gc;
pub mod init;
pub mod inspect;
pub mod logging;
pub mod out;
pub mod output;
pub mod probes;
pub mod ps;
pub mod run;
pub mod session;
pub mod signals;
pub mod ssh;
pub mod types;
pub mod vendor;

pub use args::Cli;
pub use dispatch::dispatch;
