//! The checkpoints on disk: one folder each, named after the record that it was taken after.
//!
//! `checkpoints/<id>/` holds the builder's files, `lock` and, once it is whole, `meta.json`. Whoever uses a checkpoint, or is
//! making it, shares its lock and its ancestors'; whoever removes it has the lock alone, and takes `meta.json` away first.
//! So a folder without `meta.json` is no checkpoint, and one whose lock nobody holds besides is left over from a run that
//! was killed. The lock's time of modification is the time of the last use.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::usage;
use crate::engine::Checkpoint;
use crate::error::{Context, Error, Kind, Result, io_error};
use crate::host::lock::Lock;
use crate::host::{atomic, dirs};

pub(super) const META: &str = "meta.json";
pub(super) const LOCK: &str = "lock";

/// How long the removal of a checkpoint's folder by somebody else is waited for, and how often it is looked for.
const REMOVAL: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(5);

/// Folders that a machine of this process may depend on, though nobody answers for them any more, with their locks.
static ABANDONED: Mutex<Vec<(PathBuf, Lock)>> = Mutex::new(Vec::new());

fn abandoned() -> MutexGuard<'static, Vec<(PathBuf, Lock)>> {
    ABANDONED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is known of a checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    /// The record that it was taken after.
    pub id: String,
    /// The checkpoint that its files depend on.
    pub parent: Option<String>,
    /// The builder that made it, and can go on from it.
    pub builder: String,
    /// What the builder needs to do so.
    pub state: serde_json::Value,
    /// The name it was given by `vm:checkpoint`.
    pub name: Option<String>,
    /// The operation that it was taken after.
    pub title: String,
    /// Bytes that it takes on the disk, without its ancestors; 0 has [`Store::commit`] measure it.
    pub size: u64,
    /// Seconds that it took to take and store.
    pub cost: f64,
    /// When it was taken, in seconds since 1970.
    pub at: i64,
    /// The script, absolute, and the build that it was taken for.
    pub script: String,
    pub build: String,
}

/// `meta.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    meta: Meta,
    files: Vec<Stamp>,
}

/// A file as it was when the checkpoint was complete: what has changed since is damaged.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Stamp {
    name: String,
    size: u64,
    /// Seconds and nanoseconds since 1970.
    modified: (i64, i64),
}

/// The checkpoints of all scripts of this user.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
}

/// A checkpoint in the making. Dropped, its folder stays locked, as a machine may depend on it, until
/// [`Store::clear_abandoned`] or the end of this process.
#[derive(Debug)]
pub struct Begun {
    id: String,
    folder: PathBuf,
    lock: Option<Lock>,
}

/// A checkpoint in use: it and its ancestors stay while a clone of this is there.
#[derive(Debug, Clone)]
pub struct Held(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    checkpoint: Checkpoint,
    meta: Meta,
    #[expect(dead_code, reason = "held until they are dropped")]
    locks: Vec<Lock>,
}

impl Held {
    /// Returns what `Builder::launch` takes.
    pub fn checkpoint(&self) -> Checkpoint {
        self.0.checkpoint.clone()
    }

    /// Returns what is known of it.
    pub fn meta(&self) -> &Meta {
        &self.0.meta
    }
}

impl Begun {
    /// Returns its folder: empty but for the lock.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        abandoned().extend(self.lock.take().map(|lock| (self.folder.clone(), lock)));
    }
}

impl Store {
    /// Returns the checkpoints below `folder`, which need not be there yet.
    pub fn new(folder: impl Into<PathBuf>) -> Store {
        Store { folder: folder.into() }
    }

    /// Makes the folder of a new checkpoint, mode 0700, and holds it.
    pub fn begin(&self, id: &str) -> Result<Begun> {
        let wrong = || Error::new(Kind::Internal, format!("{id:?} cannot be a checkpoint's name"));
        let folder = self.place(id).ok_or_else(wrong)?;
        dirs::private(&self.folder)?;
        let busy = || Error::new(Kind::Io, format!("cannot begin checkpoint {id}: another run is making it"));
        // Whoever clears away what killed runs left may have the folder before it is locked: such a one is soon done.
        let until = Instant::now() + REMOVAL;
        loop {
            match std::fs::create_dir(&folder) {
                Ok(()) => {}
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                    if !remove_if_free(&folder) {
                        if Instant::now() > until {
                            return Err(busy());
                        }
                        std::thread::park_timeout(PAUSE);
                    }
                    continue;
                }
                Err(e) => return Err(io_error("create folder", &folder, e)),
            }
            if dirs::private(&folder).is_ok()
                && File::create_new(folder.join(LOCK)).is_ok()
                && let Some(lock) = Lock::shared(&folder.join(LOCK))
            {
                return Ok(Begun { id: id.to_owned(), folder, lock: Some(lock) });
            }
            if folder.exists() {
                let full = File::create(folder.join(LOCK)).map_err(|e| io_error("create", folder.join(LOCK), e));
                full?;
            }
            if Instant::now() > until {
                return Err(busy());
            }
        }
    }

    /// Makes it a checkpoint, which stays held by whoever made it. What cannot be committed stays where it is until this
    /// process ends.
    pub fn commit(&self, mut begun: Begun, meta: &Meta) -> Result<Held> {
        if meta.id != begun.id {
            return Err(Error::new(Kind::Internal, format!("checkpoint {} was begun as {}", meta.id, begun.id)));
        }
        let mut locks = match &meta.parent {
            Some(parent) => self.chain(parent, &meta.builder).map(|(_, locks)| locks).ok_or_else(|| {
                Error::new(
                    Kind::Io,
                    format!("cannot keep checkpoint {}: {parent}, which it is built on, is gone", meta.id),
                )
            })?,
            None => Vec::new(),
        };
        let files = stamps(&begun.folder)?;
        for file in &files {
            let path = begun.folder.join(&file.name);
            // A checkpoint that is there after a power failure is there whole.
            File::open(&path).and_then(|file| file.sync_data()).map_err(|e| io_error("sync", &path, e))?;
        }
        let mut meta = meta.clone();
        if meta.size == 0 {
            meta.size = usage::of_tree(&begun.folder);
        }
        let text = serde_json::to_vec_pretty(&Stored { meta: meta.clone(), files })
            .context(Kind::Internal, "cannot write a checkpoint down")?;
        atomic::write(&begun.folder.join(META), &text)?;
        locks.extend(begun.lock.take());
        Ok(held(&begun.folder, meta, locks))
    }

    /// Removes what was begun here and not completed. For the end of a run: a machine that goes on has its files open.
    pub fn clear_abandoned(&self) {
        let ours = abandoned().extract_if(.., |(folder, _)| folder.starts_with(&self.folder)).collect::<Vec<_>>();
        for (folder, lock) in ours {
            drop(lock);
            remove_if_free(&folder);
        }
    }

    /// Holds a checkpoint and all that it depends on, for use. None if it is not there, incomplete, of another builder, or
    /// damaged; what is damaged is removed.
    pub fn hold(&self, id: &str, builder: &str) -> Option<Held> {
        let (metas, locks) = self.chain(id, builder)?;
        locks.iter().for_each(Lock::touch);
        let meta = metas.into_iter().next()?;
        Some(held(&self.place(id)?, meta, locks))
    }

    /// Tells whether [`Store::hold`] is likely to find it, at the price of a look at its notes.
    pub fn exists(&self, id: &str, builder: &str) -> bool {
        let (mut next, mut seen) = (Some(id.to_owned()), BTreeSet::new());
        while let Some(id) = next {
            let stored = self.place(&id).and_then(|folder| read(&folder).ok().flatten());
            match stored.map(|stored| stored.meta) {
                Some(meta) if meta.builder == builder && seen.insert(id) => next = meta.parent,
                _ => return false,
            }
        }
        true
    }

    /// Removes a checkpoint that turned out not to work, and all that descend from it. What others hold is made unusable,
    /// and goes when they are done.
    pub fn remove(&self, id: &str) {
        let mut doomed = vec![id.to_owned()];
        let all: Vec<Meta> = self.all().into_iter().filter_map(|folder| Some(read(&folder).ok()??.meta)).collect();
        let mut at = 0;
        while let Some(parent) = doomed.get(at).cloned() {
            let children = all.iter().filter(|meta| meta.parent.as_deref() == Some(parent.as_str()));
            let new: Vec<String> = children.map(|meta| meta.id.clone()).filter(|id| !doomed.contains(id)).collect();
            doomed.extend(new);
            at += 1;
        }
        // Unusable first, all of them; then gone, from the ends of the chains.
        let folders: Vec<PathBuf> = doomed.iter().filter_map(|id| self.place(id)).collect();
        folders.iter().for_each(|folder| atomic::remove(&folder.join(META)));
        for folder in folders.iter().rev() {
            remove_if_free(folder);
        }
    }

    /// Returns the folders that are there, whole or not.
    pub(super) fn all(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    }

    /// Returns what is known of a checkpoint and its ancestors, and their locks.
    fn chain(&self, id: &str, builder: &str) -> Option<(Vec<Meta>, Vec<Lock>)> {
        let (mut metas, mut locks, mut next) = (Vec::new(), Vec::new(), Some(id.to_owned()));
        let mut seen = BTreeSet::new();
        while let Some(id) = next {
            let folder = self.place(&id)?;
            // Not to wait for the lock of one that is being made or removed.
            if !folder.join(META).exists() {
                return None;
            }
            let lock = Lock::shared(&folder.join(LOCK));
            let locked = lock.is_some();
            locks.extend(lock);
            let stored = match read(&folder) {
                Ok(stored) => stored?,
                Err(why) => return self.damaged(&id, &why, locks),
            };
            if !locked {
                // Somebody is removing it, or the lock is lost.
                return if folder.join(LOCK).exists() { None } else { self.damaged(&id, "its lock is gone", locks) };
            }
            if stored.meta.builder != builder {
                return None;
            }
            if stored.meta.id != id || !seen.insert(id.clone()) {
                return self.damaged(&id, "its notes are about another", locks);
            }
            if let Some(file) = stored.files.iter().find(|file| Stamp::of(&folder, &file.name).as_ref() != Some(*file))
            {
                return self.damaged(&id, &format!("{} has changed or is gone", file.name), locks);
            }
            next = stored.meta.parent.clone();
            metas.push(stored.meta);
        }
        Some((metas, locks))
    }

    /// Drops a checkpoint; `locks` are those taken on the way to it.
    fn damaged<T>(&self, id: &str, why: &str, locks: Vec<Lock>) -> Option<T> {
        tracing::warn!(id, why, "a checkpoint is damaged; dropped");
        drop(locks);
        self.remove(id);
        None
    }

    /// Returns the folder of that name; none for what cannot be an id.
    pub(super) fn place(&self, id: &str) -> Option<PathBuf> {
        let plain = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        plain.then(|| self.folder.join(id))
    }
}

fn held(folder: &Path, meta: Meta, locks: Vec<Lock>) -> Held {
    let checkpoint = Checkpoint { folder: folder.to_owned(), state: meta.state.clone() };
    Held(Arc::new(Inner { checkpoint, meta, locks }))
}

/// Reads what is known of a checkpoint; none when it is not complete, or cannot be read.
pub(super) fn read_meta(folder: &Path) -> Option<Meta> {
    read(folder).ok().flatten().map(|stored| stored.meta)
}

/// The same; an error says why it cannot be read.
fn read(folder: &Path) -> Result<Option<Stored>, String> {
    match std::fs::read(folder.join(META)) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|e| format!("its notes cannot be read: {e}")),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(format!("its notes cannot be read: {e}")),
    }
}

/// Removes a checkpoint's folder unless somebody holds it, and tells whether it is gone. Stopped at any moment, it leaves
/// either the checkpoint as it was or what is none.
pub(super) fn remove_if_free(folder: &Path) -> bool {
    let lock = folder.join(LOCK);
    if folder.is_dir() && !lock.exists() {
        // Whoever begins one makes the lock at once; without it there is nothing to hold.
        let _ = File::create_new(&lock);
    }
    let Some(held) = Lock::exclusive(&lock) else { return !folder.exists() };
    atomic::remove(&folder.join(META));
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten().filter(|entry| entry.file_name() != LOCK) {
        atomic::remove(&entry.path());
    }
    atomic::remove(&lock);
    let gone = std::fs::remove_dir(folder).is_ok() || !folder.exists();
    drop(held);
    gone
}

impl Stamp {
    fn of(folder: &Path, name: &str) -> Option<Stamp> {
        let meta = std::fs::symlink_metadata(folder.join(name)).ok()?;
        Some(Stamp { name: name.to_owned(), size: meta.len(), modified: (meta.mtime(), meta.mtime_nsec()) })
    }
}

/// Returns the files of a checkpoint, those in folders too.
fn stamps(folder: &Path) -> Result<Vec<Stamp>> {
    let (mut found, mut folders) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(inside) = folders.pop() {
        let path = folder.join(&inside);
        for entry in std::fs::read_dir(&path).map_err(|e| io_error("read folder", &path, e))? {
            let entry = entry.map_err(|e| io_error("read folder", &path, e))?;
            let kind = entry.file_type().map_err(|e| io_error("read", entry.path(), e))?;
            let name = inside.join(entry.file_name());
            if kind.is_dir() {
                folders.push(name);
            } else if kind.is_file() && name != Path::new(LOCK) && name != Path::new(META) {
                let text = name.to_str().and_then(|name| Stamp::of(folder, name));
                found.push(text.ok_or_else(|| {
                    Error::new(
                        Kind::Io,
                        format!("cannot keep {}: it is gone, or its name is no text", entry.path().display()),
                    )
                })?);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn meta(id: &str, parent: Option<&str>) -> Meta {
        Meta {
            id: id.into(),
            parent: parent.map(str::to_owned),
            builder: "qemu".into(),
            state: json!({ "port": 1 }),
            name: None,
            title: "boot".into(),
            size: 0,
            cost: 0.5,
            at: 1,
            script: "/s.lua".into(),
            build: "web".into(),
        }
    }

    fn make(store: &Store, id: &str, parent: Option<&str>) -> Held {
        let begun = store.begin(id).unwrap();
        std::fs::create_dir(begun.folder().join("more")).unwrap();
        std::fs::write(begun.folder().join("memory"), vec![7; 100_000]).unwrap();
        std::fs::write(begun.folder().join("more/disk"), "disk").unwrap();
        store.commit(begun, &meta(id, parent)).unwrap()
    }

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path().join("replay/checkpoints"));
        (dir, store)
    }

    #[test]
    fn a_checkpoint_is_there_once_it_is_committed_and_held_with_its_ancestors() {
        let (_dir, store) = store();
        assert!(store.hold("a", "qemu").is_none() && !store.exists("a", "qemu"));
        let begun = store.begin("a").unwrap();
        std::fs::write(begun.folder().join("memory"), "m").unwrap();
        assert!(store.hold("a", "qemu").is_none() && !store.exists("a", "qemu"));
        assert_eq!(store.begin("a").unwrap_err().kind(), Kind::Io, "it is being made");
        drop(store.commit(begun, &meta("a", None)).unwrap());
        let b = make(&store, "b", Some("a"));
        assert_eq!((b.meta().id.as_str(), b.checkpoint().state), ("b", json!({ "port": 1 })));
        assert!(b.meta().size >= 100_000, "{}", b.meta().size);
        assert!(store.exists("b", "qemu") && !store.exists("b", "docker"));
        assert!(store.hold("b", "docker").is_none());
        let (a, b) = (store.place("a").unwrap(), store.place("b").unwrap());
        assert!(Lock::is_held(&a.join(LOCK)) && Lock::is_held(&b.join(LOCK)));
        assert!(!remove_if_free(&a) && !remove_if_free(&b));
        let again = store.hold("b", "qemu").unwrap();
        let clone = again.clone();
        drop(again);
        assert!(Lock::is_held(&a.join(LOCK)));
        drop(clone);
        assert!(store.begin("../a").is_err() && store.hold("../a", "qemu").is_none());
    }

    #[test]
    fn what_nobody_holds_can_go() {
        let (dir, store) = store();
        drop(make(&store, "a", None));
        let a = store.place("a").unwrap();
        assert!(remove_if_free(&a) && !a.exists() && remove_if_free(&a));
        // Left over from a run that was killed: with and without its lock.
        std::fs::create_dir(&a).unwrap();
        assert!(remove_if_free(&a));
        std::fs::create_dir(&a).unwrap();
        std::fs::write(a.join("memory"), "half").unwrap();
        std::fs::write(a.join(LOCK), "").unwrap();
        let begun = store.begin("a").unwrap();
        assert!(!a.join("memory").exists());
        assert!(!remove_if_free(&a), "a machine may depend on it");
        drop(begun);
        drop(store.begin("c").unwrap());
        let c = store.place("c").unwrap();
        assert!(!remove_if_free(&c), "nobody said that it may go");
        Store::new(dir.path().join("another")).clear_abandoned();
        assert!(c.exists());
        store.clear_abandoned();
        assert!(!c.exists());
    }

    #[test]
    fn what_is_damaged_is_dropped_with_all_that_descend_from_it() {
        type Harm = fn(&Path);
        let harms: [Harm; 6] = [
            |a| std::fs::write(a.join("memory"), vec![8; 100_000]).unwrap(),
            |a| File::options().write(true).open(a.join("memory")).unwrap().set_len(99).unwrap(),
            |a| std::fs::remove_file(a.join("more/disk")).unwrap(),
            |a| std::fs::write(a.join(META), "{").unwrap(),
            |a| std::fs::remove_file(a.join(LOCK)).unwrap(),
            |a| std::fs::copy(a.with_file_name("z").join(META), a.join(META)).map(drop).unwrap(),
        ];
        for (number, harm) in harms.into_iter().enumerate() {
            let (_dir, store) = store();
            for (id, parent) in [("z", None), ("a", Some("z")), ("b", Some("a")), ("c", Some("b")), ("y", Some("z"))] {
                drop(make(&store, id, parent));
            }
            std::thread::park_timeout(std::time::Duration::from_millis(10));
            harm(&store.place("a").unwrap());
            assert!(store.hold("c", "qemu").is_none(), "{number}");
            for (id, left) in [("a", false), ("b", false), ("c", false), ("y", true), ("z", true)] {
                assert_eq!(store.place(id).unwrap().exists(), left, "{number} {id}");
                assert_eq!(store.hold(id, "qemu").is_some(), left, "{number} {id}");
            }
        }
    }

    #[test]
    fn what_others_hold_is_made_unusable() {
        let (_dir, store) = store();
        let a = make(&store, "a", None);
        let b = make(&store, "b", Some("a"));
        store.remove("a");
        assert!(store.hold("a", "qemu").is_none() && store.hold("b", "qemu").is_none());
        assert!(a.checkpoint().folder.join("memory").exists() && b.checkpoint().folder.join("memory").exists());
        let orphan = store.begin("c").unwrap();
        assert!(store.commit(orphan, &meta("c", Some("a"))).is_err());
        drop((a, b));
        store.remove("a");
        assert!(!store.place("a").unwrap().exists());
    }

    #[test]
    fn one_that_names_itself_as_its_parent_is_none() {
        let (_dir, store) = store();
        drop(make(&store, "a", None));
        let folder = store.place("a").unwrap();
        let mut stored = read(&folder).unwrap().unwrap();
        stored.meta.parent = Some("a".into());
        std::fs::write(folder.join(META), serde_json::to_vec(&stored).unwrap()).unwrap();
        assert!(!store.exists("a", "qemu") && store.hold("a", "qemu").is_none());
    }
}
