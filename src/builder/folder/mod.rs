//! `rimg.folder`, for tests alone: the machine that is a folder, with checkpoints.

mod builder;

pub use builder::ENTRY;
