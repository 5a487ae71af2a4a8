//! Files that were never finished: what bears a run's id in its name.

use std::path::Path;

use crate::host::atomic;

/// Removes what a run has begun in a folder, and returns the names of what stays.
pub fn remove(folder: &Path, run: &str) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let its = entries.flatten().filter(|entry| atomic::owner_of(&entry.file_name()).as_deref() == Some(run));
    its.map(|entry| entry.path())
        .filter(|path| {
            atomic::remove(path);
            std::fs::symlink_metadata(path).is_ok()
        })
        .collect()
}
