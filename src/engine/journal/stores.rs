//! The cache and the state folder: what is unfinished in them and belongs to nobody.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::collect::{Fate, Item};
use super::runs;
use crate::engine::replay::usage::{Depth, Stock, Thing, of_tree};
use crate::error::Result;
use crate::host::atomic;

/// The folder of the runs' work folders within the cache.
pub const WORK: &str = "run";
/// A run that is not known here may belong to another state folder; of one that lives, nothing is that old.
const STRANGE: Duration = Duration::from_secs(24 * 3600);

/// Tells `each` what is unfinished below a folder, and of which run it is. Work folders are not looked into.
pub fn walk(folder: &Path, each: &mut dyn FnMut(&Path, &str)) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if let Some(owner) = atomic::owner_of(&entry.file_name()) {
            each(&path, &owner);
        } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) && !path.ends_with(WORK) {
            walk(&path, each);
        }
    }
}

/// Removes what no run that is known here has to do with: unfinished files and work folders of a day and more,
/// checkpoints that nobody writes any more, and half records when no run goes on.
pub fn sweep(state_dir: &Path, cache_dir: &Path, dry_run: bool) -> Result<Vec<Item>> {
    let runs = runs::all(state_dir)?;
    let known: BTreeSet<&str> = runs.iter().map(|run| run.id.as_str()).collect();
    let is_old = |path: &Path| {
        let changed = std::fs::symlink_metadata(path).and_then(|meta| meta.modified()).ok();
        changed.and_then(|time| time.elapsed().ok()).is_some_and(|age| age > STRANGE)
    };
    let mut found: Vec<(&str, PathBuf)> = Vec::new();
    for store in [cache_dir, state_dir] {
        walk(store, &mut |path, owner| {
            if !known.contains(owner) && is_old(path) {
                found.push(("unfinished file", path.to_owned()));
            }
        });
    }
    for entry in std::fs::read_dir(cache_dir.join(WORK)).into_iter().flatten().flatten() {
        let is_known = entry.file_name().to_str().is_some_and(|name| known.contains(name));
        if !is_known && is_old(&entry.path()) {
            found.push(("folder", entry.path()));
        }
    }
    let mut items = Vec::new();
    for (kind, path) in found {
        let bytes = of_tree(&path);
        if !dry_run {
            atomic::remove(&path);
        }
        items.push(item(kind, &path, bytes, dry_run || std::fs::symlink_metadata(&path).is_ok(), dry_run));
    }
    let is_quiet = !runs.iter().any(runs::Run::is_live);
    let stock = Stock::look(cache_dir, Depth::Whole)?;
    for (thing, what) in stock.things.iter().zip(&stock.items).filter(|(_, item)| !item.locked) {
        let (kind, path) = match thing {
            Thing::Checkpoint { folder, meta: None } => ("unfinished checkpoint", folder),
            Thing::Scrap { path } if is_quiet => ("unfinished file", path),
            _ => continue,
        };
        let there = dry_run || !thing.remove()?;
        items.push(item(kind, path, what.size, there, dry_run));
    }
    Ok(items)
}

fn item(kind: &str, path: &Path, bytes: u64, there: bool, dry_run: bool) -> Item {
    let (fate, why) = match (there, dry_run) {
        (_, true) => (Fate::WouldRemove, None),
        (false, _) => (Fate::Removed, None),
        (true, _) => (Fate::Stays, Some("it cannot be removed".to_owned())),
    };
    Item {
        fate,
        kind: kind.to_owned(),
        name: path.display().to_string(),
        build: String::new(),
        run: String::new(),
        age: None,
        bytes: Some(bytes),
        why,
    }
}
