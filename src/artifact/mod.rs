//! Post-processing: functions from an artifact to a new artifact.

pub mod archive;
pub mod bgzf;
pub mod blocks;
pub mod bz2;
pub mod checksum;
pub mod compress;
pub mod convert;
pub mod deflate;
pub mod files;
pub mod manifest;
pub mod name;
pub mod output;
pub mod vagrant;
pub mod xz;
mod zip;
