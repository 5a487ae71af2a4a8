//! Copies of what operations and post-processing made on this host, kept to be brought back.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Files and folders as they were made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    pub entries: Vec<Entry>,
}

/// One file, folder or link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Where it was made, absolute.
    pub path: PathBuf,
}
