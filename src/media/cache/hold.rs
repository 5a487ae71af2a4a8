//! Files of the cache that this process works with, and that `rimg cache prune` must therefore leave alone.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Mutex;

use crate::host::lock::Lock;

/// By device and inode: a file that has two names is one file.
static HELD: Mutex<BTreeMap<(u64, u64), Lock>> = Mutex::new(BTreeMap::new());

/// Marks a cached file as in use until this process ends: a machine may have it as its disk or its medium. The mark is
/// a shared lock on the file, which the kernel takes back whatever the end is.
pub fn hold(path: &Path) {
    let Ok(meta) = std::fs::metadata(path) else { return };
    let mut held = HELD.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let place = held.entry((meta.dev(), meta.ino()));
    if let std::collections::btree_map::Entry::Vacant(place) = place
        && let Some(lock) = Lock::shared(path)
    {
        place.insert(lock);
    }
}
