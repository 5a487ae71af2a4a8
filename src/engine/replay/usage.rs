//! How much of the disk things take.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Returns the bytes that a file takes, or a folder with all it holds; a file with two names counts once.
pub fn of_tree(path: &Path) -> u64 {
    add(path, &mut BTreeSet::new())
}

fn add(path: &Path, seen: &mut BTreeSet<(u64, u64)>) -> u64 {
    let Ok(meta) = std::fs::symlink_metadata(path) else { return 0 };
    if !meta.is_dir() && meta.nlink() > 1 && !seen.insert((meta.dev(), meta.ino())) {
        return 0;
    }
    let own = meta.blocks().saturating_mul(512);
    if !meta.is_dir() {
        return own;
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| add(&entry.path(), seen)).fold(own, u64::saturating_add)
}
