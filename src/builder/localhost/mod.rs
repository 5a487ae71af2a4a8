//! `rimg.localhost`: this very machine.

mod builder;
mod machine;

pub use builder::{ENTRY, LocalhostBuilder, LocalhostOptions};
