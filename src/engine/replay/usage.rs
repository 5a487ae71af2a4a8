//! What is in the cache: what each thing is, how much of the disk it takes, when it was last used, and by whom it is held.

use std::collections::{BTreeSet, HashMap};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Deserialize;

use super::checkpoints::{self, LOCK, Meta};
use super::kept::{Files, Kept};
use super::plan::Item;
use crate::error::Result;
use crate::host::{downloads, lock::Lock};

/// The folder of records, checkpoints and kept files within the cache.
pub const FOLDER: &str = "replay";

const DAY: u64 = 24 * 3600;
/// A record that was not used for that long is of no use.
const RECORD_LIMIT: u64 = 60 * DAY;
/// A checkpoint without its record is never asked for; for a while, the record may yet be written.
const ORPHAN_LIMIT: u64 = DAY;
/// Nothing is being written for that long.
const SCRAP_LIMIT: u64 = 3600;

/// All that is in the cache. Things and items of the same number belong together.
#[derive(Debug, Default)]
pub struct Stock {
    pub things: Vec<Thing>,
    pub items: Vec<Item>,
}

/// One thing in the cache.
#[derive(Debug)]
pub enum Thing {
    Checkpoint {
        folder: PathBuf,
        /// None while it is incomplete.
        meta: Option<Box<Meta>>,
    },
    Record {
        path: PathBuf,
        /// None where only its surface was looked at.
        brief: Option<Brief>,
    },
    /// Content of what was made on this host.
    File {
        path: PathBuf,
    },
    Download(downloads::Files),
    /// Half a file of a run that was killed.
    Scrap {
        path: PathBuf,
    },
}

/// What there is to know about a record without understanding it.
#[derive(Debug, Deserialize)]
pub struct Brief {
    pub script: String,
    pub build: String,
    #[serde(default)]
    outputs: Option<Kept>,
}

/// How closely to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Names, sizes and times: quick.
    Surface,
    /// Who holds what, too, and what is in the records.
    Whole,
}

impl Stock {
    /// Looks at all that is there.
    pub fn look(cache_dir: &Path, depth: Depth) -> Result<Stock> {
        let mut stock = Stock::default();
        let folder = cache_dir.join(FOLDER);
        let files = stock.add_files(&folder.join("files"));
        let records = stock.add_records(&folder.join("records"), depth, &Files::new(folder.join("files")), &files);
        stock.add_checkpoints(&folder.join("checkpoints"), depth, &records);
        for files in downloads::all(cache_dir)?.into_iter().filter(|files| files.content().is_some()) {
            let locked = depth == Depth::Whole && files.in_use();
            let item = Item { size: files.size(), unused_for: since(files.used()), locked, ..Item::default() };
            stock.add(Thing::Download(files), item);
        }
        Ok(stock)
    }

    /// Returns the bytes of all of it.
    pub fn size(&self) -> u64 {
        self.items.iter().map(|item| item.size).fold(0, u64::saturating_add)
    }

    fn add(&mut self, thing: Thing, item: Item) -> usize {
        self.things.push(thing);
        self.items.push(item);
        self.things.len() - 1
    }

    fn add_scrap(&mut self, path: PathBuf, meta: &Metadata) {
        let unused_for = since(meta.modified().ok());
        let item = Item { size: on_disk(meta), unused_for, limit: Some(SCRAP_LIMIT), ..Item::default() };
        self.add(Thing::Scrap { path }, item);
    }

    fn add_files(&mut self, folder: &Path) -> HashMap<PathBuf, usize> {
        let mut numbers = HashMap::new();
        for (path, meta) in inside(folder).into_iter().flat_map(|(path, _)| inside(&path)) {
            if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) {
                self.add_scrap(path, &meta);
                continue;
            }
            // One that is a file of the user's, too, takes nothing of its own.
            let size = if meta.nlink() > 1 { 0 } else { on_disk(&meta) };
            let changed = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(meta.ctime().unsigned_abs());
            let item = Item { size, unused_for: since(Some(changed)), serves: true, ..Item::default() };
            let number = self.add(Thing::File { path: path.clone() }, item);
            numbers.insert(path, number);
        }
        numbers
    }

    /// Returns the records' numbers by their ids.
    fn add_records(
        &mut self,
        folder: &Path,
        depth: Depth,
        store: &Files,
        files: &HashMap<PathBuf, usize>,
    ) -> HashMap<String, usize> {
        let (mut numbers, mut parents) = (HashMap::new(), Vec::new());
        // Without asking what each is: there may be thousands.
        for chain in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|chain| chain.path()) {
            for (path, meta) in inside(&chain) {
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                let Some(id) = name.strip_suffix(".json").and_then(|name| name.rsplit('.').next()) else {
                    if name.ends_with(".partial") {
                        self.add_scrap(path, &meta);
                    }
                    continue;
                };
                let id = id.to_owned();
                let brief = if depth == Depth::Whole { read(&path) } else { None };
                let mentioned = brief.iter().flat_map(|brief| &brief.outputs).flat_map(Kept::digests);
                let needs: BTreeSet<usize> =
                    mentioned.filter_map(|digest| files.get(&store.place(digest)?).copied()).collect();
                let item = Item {
                    size: on_disk(&meta),
                    unused_for: since(meta.modified().ok()),
                    junk: depth == Depth::Whole && brief.is_none(),
                    needs: needs.into_iter().collect(),
                    limit: Some(RECORD_LIMIT),
                    ..Item::default()
                };
                let number = self.add(Thing::Record { path, brief }, item);
                parents.push((number, chain.file_name().unwrap_or_default().to_string_lossy().into_owned()));
                numbers.insert(id, number);
            }
        }
        for (number, after) in parents {
            if let (Some(item), Some(parent)) = (self.items.get_mut(number), numbers.get(&after)) {
                item.needs.push(*parent);
            }
        }
        numbers
    }

    fn add_checkpoints(&mut self, folder: &Path, depth: Depth, records: &HashMap<String, usize>) {
        let mut numbers = HashMap::new();
        for (folder, _) in inside(folder).into_iter().filter(|(_, meta)| meta.is_dir()) {
            let id = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let whole = checkpoints::read_meta(&folder).filter(|meta| meta.id == id).map(Box::new);
            let lock = folder.join(LOCK);
            let item = Item {
                size: whole.as_ref().map_or_else(|| of_tree(&folder), |meta| meta.size),
                unused_for: since(std::fs::metadata(&lock).and_then(|meta| meta.modified()).ok()),
                locked: depth == Depth::Whole && Lock::is_held(&lock),
                junk: whole.is_none(),
                needs: records.get(&id).copied().into_iter().collect(),
                serves: false,
                limit: if records.contains_key(&id) { None } else { Some(ORPHAN_LIMIT) },
            };
            let number = self.add(Thing::Checkpoint { folder, meta: whole }, item);
            numbers.insert(id, number);
        }
        let parents: Vec<(usize, Option<usize>)> = numbers
            .values()
            .filter_map(|number| match self.things.get(*number)? {
                Thing::Checkpoint { meta: Some(meta), .. } => {
                    let parent = meta.parent.as_ref()?;
                    Some((*number, numbers.get(parent).copied()))
                }
                _ => None,
            })
            .collect();
        for (number, parent) in &parents {
            if let Some(item) = self.items.get_mut(*number) {
                item.needs.extend(parent);
                item.junk |= parent.is_none();
            }
        }
        // What is built on junk is junk. Every round reaches at least one more.
        for _ in &parents {
            for (number, parent) in &parents {
                let junk = parent.and_then(|parent| self.items.get(parent)).is_some_and(|parent| parent.junk);
                if let Some(item) = self.items.get_mut(*number) {
                    item.junk |= junk;
                }
            }
        }
    }
}

impl Thing {
    /// Removes it, unless a run works with it; tells whether it is gone.
    pub fn remove(&self) -> Result<bool> {
        match self {
            Thing::Checkpoint { folder, .. } => Ok(checkpoints::remove_if_free(folder)),
            Thing::Download(files) => files.remove(),
            Thing::Record { path, .. } | Thing::File { path } | Thing::Scrap { path } => {
                match std::fs::remove_file(path) {
                    Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                        Err(crate::error::io_error("remove", path, e))
                    }
                    _ => Ok(true),
                }
            }
        }
    }
}

/// Returns the bytes that a file takes, or a folder with all it holds; a file with two names counts once.
pub fn of_tree(path: &Path) -> u64 {
    add(path, &mut BTreeSet::new())
}

fn add(path: &Path, seen: &mut BTreeSet<(u64, u64)>) -> u64 {
    let Ok(meta) = std::fs::symlink_metadata(path) else { return 0 };
    if !meta.is_dir() && meta.nlink() > 1 && !seen.insert((meta.dev(), meta.ino())) {
        return 0;
    }
    let own = on_disk(&meta);
    if !meta.is_dir() {
        return own;
    }
    inside(path).into_iter().map(|(path, _)| add(&path, seen)).fold(own, u64::saturating_add)
}

fn on_disk(meta: &Metadata) -> u64 {
    meta.blocks().saturating_mul(512)
}

/// Returns what is in a folder; nothing where it cannot be read.
pub(super) fn inside(folder: &Path) -> Vec<(PathBuf, Metadata)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.path(), entry.metadata().ok()?))).collect()
}

/// Returns the seconds since then; what is not known, or in the future, is now.
pub(super) fn since(time: Option<SystemTime>) -> u64 {
    time.and_then(|time| SystemTime::now().duration_since(time).ok()).map_or(0, |age| age.as_secs())
}

fn read(path: &Path) -> Option<Brief> {
    serde_json::from_slice(super::records::whole(&std::fs::read(path).ok()?)?).ok()
}
