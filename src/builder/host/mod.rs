//! `rimg.host`: an existing machine over SSH.

mod builder;
mod machine;
mod options;

pub use builder::{ENTRY, HostBuilder};
pub use options::HostOptions;
