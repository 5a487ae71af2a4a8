//! Files that were never finished: what bears a run's id in its name.

use std::path::{Path, PathBuf};

use crate::host::atomic;

/// Returns what a run has begun in a folder.
pub fn of(folder: &Path, run: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let its = entries.filter(|entry| atomic::owner_of(&entry.file_name()).as_deref() == Some(run));
    its.map(|entry| entry.path()).collect()
}
