//! Post-processing: functions from an artifact to a new artifact.

pub mod archive;
pub mod checksum;
pub mod compress;
pub mod deflate;
pub mod files;
pub mod name;
pub mod output;
mod zip;
