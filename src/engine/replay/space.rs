//! Keeps what is cached within its bound.
//!
//! Whatever is removed, and wherever that is interrupted, what is left is consistent: things go before what they need, a
//! checkpoint is none from the moment at which its notes are gone, and who holds something is asked again at the last
//! moment. What is used without being held (records, kept files) is verified before use: to lose it costs work, no more.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use super::checkpoints::Store;
use super::plan::{Plan, Rules, plan};
use super::usage::{Depth, FOLDER, Stock, Thing, inside, since};
use crate::error::{Result, io_error};
use crate::host::lock::Lock;
use crate::host::{atomic, blocking, dirs};

/// The largest bound that nobody asked for.
const USUAL: u64 = 50 << 30;
/// A file may be kept before the record that mentions it is written.
pub const GRACE: u64 = 3600;
const DAY: u64 = 24 * 3600;
/// What was known of a file for so long is found out anew.
const DIGEST_LIMIT: u64 = 60 * DAY;

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Freed {
    pub bytes: u64,
    pub checkpoints: u64,
    pub records: u64,
    pub files: u64,
    pub downloads: u64,
}

/// What came of a plan, by the numbers of things.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removal {
    pub removed: Vec<usize>,
    /// What a run works with, and is therefore left.
    pub in_use: Vec<usize>,
    pub bytes: u64,
}

/// Removes the least recently used of what is too much; `bound` is the size that all of the cache may have, none the usual
/// one: a fifth of the file system, at most 50 GiB. For the end of each run, whose unfinished checkpoints go too: it looks at
/// names and times alone while there is nothing to do.
pub async fn collect(cache_dir: &Path, bound: Option<u64>) -> Result<Freed> {
    let cache_dir = cache_dir.to_owned();
    blocking::run(move |_| collect_now(&cache_dir, bound)).await
}

/// Returns the size that the cache may have.
pub fn bound(cache_dir: &Path, asked: Option<u64>) -> u64 {
    let there = cache_dir.ancestors().find_map(|folder| rustix::fs::statvfs(folder).ok());
    let fifth = there.map_or(u64::MAX, |stat| stat.f_blocks.saturating_mul(stat.f_frsize) / 5);
    asked.unwrap_or(fifth.min(USUAL))
}

fn collect_now(cache_dir: &Path, asked: Option<u64>) -> Result<Freed> {
    let folder = cache_dir.join(FOLDER);
    Store::new(folder.join("checkpoints")).clear_abandoned();
    let most = bound(cache_dir, asked);
    let swept = folder.join("swept");
    let is_swept = || std::fs::metadata(&swept).is_ok_and(|meta| since(meta.modified().ok()) < DAY);
    let surface = Stock::look(cache_dir, Depth::Surface)?;
    let due = surface.items.iter().any(|item| item.junk || item.limit.is_some_and(|limit| item.unused_for >= limit));
    if surface.size() <= most && !due && (is_swept() || surface.things.is_empty()) {
        return Ok(Freed::default());
    }
    // Whoever does it already does it for all.
    dirs::private(&folder)?;
    let lock = folder.join("space.lock");
    File::options().create(true).append(true).open(&lock).map_err(|e| io_error("open", &lock, e))?;
    let Some(_lock) = Lock::exclusive(&lock) else { return Ok(Freed::default()) };
    let stock = Stock::look(cache_dir, Depth::Whole)?;
    let plan = plan(&stock.items, Rules { most: Some(most), unused_for: None, grace: GRACE });
    let removal = remove(&stock, &plan, |thing| {
        // One that cannot be removed is no reason to keep the others, nor to fail the run.
        thing.remove().inspect_err(|error| tracing::warn!(%error, "the cache cannot be tidied")).or(Ok(false))
    })?;
    sweep(cache_dir, GRACE);
    let _ = std::fs::write(&swept, "");
    let mut freed = Freed { bytes: removal.bytes, ..Freed::default() };
    for thing in removal.removed.iter().filter_map(|number| stock.things.get(*number)) {
        match thing {
            Thing::Checkpoint { .. } => freed.checkpoints += 1,
            Thing::Record { .. } => freed.records += 1,
            Thing::File { .. } => freed.files += 1,
            Thing::Download(_) => freed.downloads += 1,
            Thing::Scrap { .. } => {}
        }
    }
    tracing::debug!(?freed, most, "tidied the cache");
    Ok(freed)
}

/// Carries a plan out; `away` removes a thing and tells whether it is gone. What turns out to be held stays, with what it
/// needs.
pub fn remove(stock: &Stock, plan: &Plan, away: impl Fn(&Thing) -> Result<bool>) -> Result<Removal> {
    let mut removal = Removal { in_use: plan.in_use.clone(), ..Removal::default() };
    let mut needed: BTreeSet<usize> = BTreeSet::new();
    for number in &plan.remove {
        let (Some(thing), Some(item)) = (stock.things.get(*number), stock.items.get(*number)) else { continue };
        if !needed.contains(number) && away(thing)? {
            removal.removed.push(*number);
            removal.bytes = removal.bytes.saturating_add(item.size);
        } else {
            needed.extend(&item.needs);
            removal.in_use.push(*number);
        }
    }
    Ok(removal)
}

/// Removes what takes no space worth the name: empty folders, locks of what is gone, notes nobody needs, once they are as
/// old as `grace` and more.
pub fn sweep(cache_dir: &Path, grace: u64) {
    let folder = cache_dir.join(FOLDER);
    let records = inside(&folder.join("records"));
    let names = |folder: &Path| inside(folder).into_iter().map(|(path, _)| path);
    let ids: BTreeSet<String> =
        records.iter().flat_map(|(chain, _)| names(chain)).filter_map(|path| id(&path)).collect();
    for (chain, meta) in records {
        let of = chain.file_name().unwrap_or_default().to_string_lossy();
        // A mark in the folder is about the record that the folder is named after.
        let empty = names(&chain).all(|path| path.extension().is_none());
        if empty && !ids.contains(&*of) && since(meta.modified().ok()) >= grace {
            names(&chain).for_each(|path| atomic::remove(&path));
            let _ = std::fs::remove_dir(&chain);
        }
    }
    for (path, meta) in inside(&folder.join("booting")) {
        if since(meta.modified().ok()) >= grace.max(DAY) && Lock::exclusive(&path).is_some() {
            atomic::remove(&path);
        }
    }
    for (path, meta) in inside(&cache_dir.join("digests")) {
        if since(meta.modified().ok()) >= DIGEST_LIMIT {
            atomic::remove(&path);
        }
    }
}

/// Returns the id of the record in a file of that name.
fn id(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_str()?.strip_suffix(".json")?.rsplit('.').next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::{Duration, Instant, SystemTime};

    use serde_json::json;

    use super::super::checkpoints::{META, Meta, Store};
    use super::super::kept::{Files, Kept};
    use super::super::key::Key;
    use super::super::record::{Outcome, Record};
    use super::super::records::{Owner, Records};
    use super::*;
    use crate::error::{Error, Kind};
    use crate::host::blocking::Cancel;
    use crate::ui::secrets::Secrets;

    struct World {
        dir: tempfile::TempDir,
        records: Records,
        store: Store,
        files: Files,
    }

    impl World {
        fn new() -> World {
            let dir = tempfile::tempdir().unwrap();
            let folder = dir.path().join(FOLDER);
            let (records, store) = (Records::new(folder.join("records")), Store::new(folder.join("checkpoints")));
            World { records, store, files: Files::new(folder.join("files")), dir }
        }

        fn path(&self, path: &str) -> PathBuf {
            self.dir.path().join(path)
        }

        fn digests(&self) -> PathBuf {
            self.path("digests")
        }

        fn keep(&self, name: &str, text: &[u8]) -> Kept {
            std::fs::write(self.path(name), text).unwrap();
            self.files.keep(&[self.path(name)], &self.digests(), &Secrets::default(), &Cancel::default()).unwrap()
        }

        fn record(&self, id: &str, after: &str, outputs: Option<Kept>) -> Record {
            let record = Record {
                id: id.into(),
                after: after.into(),
                key: Key::ROOT.next("run", &json!(id)).to_string(),
                kind: "run".into(),
                title: id.into(),
                request: json!({ "line": "x".repeat(500) }),
                outcome: Outcome::Done(json!({})),
                outputs,
                places: Vec::new(),
                seconds: 1.0,
                at: 1,
                script: "/s.lua".into(),
                build: "web".into(),
            };
            self.records.write(&record).unwrap();
            record
        }

        fn checkpoint(&self, id: &str, parent: Option<&str>) {
            let begun = self.store.begin(id).unwrap();
            std::fs::write(begun.folder().join("memory"), vec![7; 1 << 20]).unwrap();
            let meta = Meta {
                id: id.into(),
                parent: parent.map(str::to_owned),
                builder: "qemu".into(),
                state: json!(null),
                name: None,
                title: "boot".into(),
                size: 0,
                cost: 0.5,
                at: 1,
                script: "/s.lua".into(),
                build: "web".into(),
            };
            self.store.commit(begun, &meta).unwrap();
        }

        /// Makes a file, or the lock of a checkpoint, as old as that.
        fn age(&self, path: &str, seconds: u64) {
            let time = SystemTime::now() - Duration::from_secs(seconds);
            File::open(self.path(path)).unwrap().set_modified(time).unwrap();
        }

        fn age_record(&self, record: &Record, seconds: u64) {
            let key = record.key.get(..16).unwrap();
            let owner = Owner { script: "/s.lua".into(), build: "web".into() };
            let name = self.records.own(&record.after, &owner).into_iter().find(|found| found.id == record.id).unwrap();
            let folder = self.path("replay/records").join(&name.after);
            let path =
                inside(&folder).into_iter().map(|(path, _)| path).find(|path| path.to_string_lossy().contains(key));
            self.age(path.unwrap().to_str().unwrap(), seconds);
        }

        fn collect(&self, most: u64) -> Freed {
            collect_now(self.dir.path(), Some(most)).unwrap()
        }

        /// What must hold whatever happened: a checkpoint that seems to be there can be used, and so can what the records say
        /// was kept.
        fn is_consistent(&self) {
            for (path, _) in inside(&self.path("replay/checkpoints")) {
                let id = path.file_name().unwrap().to_string_lossy().into_owned();
                assert_eq!(self.store.exists(&id, "qemu"), self.store.hold(&id, "qemu").is_some(), "{id}");
            }
            let owner = Owner { script: "/s.lua".into(), build: "web".into() };
            for (chain, _) in inside(&self.path("replay/records")) {
                for record in self.records.own(&chain.file_name().unwrap().to_string_lossy(), &owner) {
                    let outputs = record.outputs.unwrap_or_default();
                    outputs.entries.iter().for_each(|entry| atomic::remove(&entry.path));
                    assert!(self.files.has(&outputs, &self.digests()), "{} has lost its files", record.id);
                }
            }
        }
    }

    #[test]
    fn the_least_recently_used_goes_and_with_it_what_nothing_mentions_any_more() {
        let world = World::new();
        let (one, two) = (world.keep("one", &[1; 600_000]), world.keep("two", &[2; 600_000]));
        let boot = world.record("boot", "root", None);
        let old = world.record("old", "boot", Some(one.clone()));
        let new = world.record("new", "boot", Some(two.clone()));
        for (record, age) in [(&boot, 10), (&old, 5000), (&new, 10)] {
            world.age_record(record, age);
        }
        for (id, parent, age) in [("boot", None, 10), ("old", Some("boot"), 6000), ("new", Some("boot"), 20)] {
            world.checkpoint(id, parent);
            world.age(&format!("replay/checkpoints/{id}/lock"), age);
        }
        assert_eq!(world.collect(10 << 20), Freed::default());
        let left = |id: &str| world.store.exists(id, "qemu");
        // A hand's breadth too much: the checkpoint that was not used for the longest time.
        let total = Stock::look(world.dir.path(), Depth::Whole).unwrap().size();
        let freed = world.collect(total - 1);
        assert_eq!((freed.checkpoints, freed.records), (1, 0));
        assert!(left("boot") && !left("old") && left("new") && freed.bytes > 1 << 20);
        // Then the record that had it. Its file was kept just now: that may be for a record yet to come.
        let freed = world.collect(total - freed.bytes - 1);
        assert_eq!((freed.checkpoints, freed.records, freed.files), (0, 1, 0));
        assert!(world.files.has(&one, &world.digests()));
        let held = world.store.hold("new", "qemu").unwrap();
        assert_eq!(world.collect(0), Freed { bytes: 0, ..Freed::default() });
        assert!(left("boot") && left("new"));
        world.is_consistent();
        drop(held);
        let freed = world.collect(0);
        assert_eq!((freed.checkpoints, freed.records), (2, 2));
        assert!(!left("boot"));
    }

    #[test]
    fn wherever_removing_is_interrupted_what_is_left_can_be_used() {
        for stop in 0..12 {
            let world = World::new();
            for (id, after) in [("a", "root"), ("b", "a"), ("c", "b")] {
                let kept = world.keep(id, &[id.as_bytes()[0]; 100_000]);
                world.record(id, after, Some(kept));
                world.checkpoint(id, if id == "a" { None } else { Some(after) });
            }
            let stock = Stock::look(world.dir.path(), Depth::Whole).unwrap();
            let plan = plan(&stock.items, Rules { most: Some(0), unused_for: Some(0), grace: 0 });
            assert_eq!(plan.remove.len(), stock.things.len());
            let done = std::cell::Cell::new(0);
            let result = remove(&stock, &plan, |thing| {
                done.set(done.get() + 1);
                if done.get() > stop { Err(Error::new(Kind::Cancelled, "killed")) } else { thing.remove() }
            });
            assert_eq!(result.is_err(), stop < plan.remove.len());
            world.is_consistent();
        }
    }

    #[test]
    fn a_removal_that_was_killed_half_way_is_completed() {
        for steps in 1..=3 {
            let world = World::new();
            for (id, parent) in [("a", None), ("b", Some("a")), ("c", Some("b"))] {
                world.checkpoint(id, parent);
            }
            for name in [META, "memory", "lock"].iter().take(steps) {
                std::fs::remove_file(world.path("replay/checkpoints/b").join(name)).unwrap();
            }
            world.is_consistent();
            assert_eq!(world.collect(u64::MAX).checkpoints, 2);
            assert!(world.store.exists("a", "qemu") && !world.path("replay/checkpoints/b").exists());
        }
    }

    #[test]
    fn leftovers_and_old_records_go_without_a_bound() {
        let world = World::new();
        let kept = world.keep("one", b"1");
        let (new, old) = (world.record("new", "root", Some(kept)), world.record("old", "new", None));
        world.age_record(&old, 61 * DAY);
        world.age_record(&new, 59 * DAY);
        std::fs::write(world.path("replay/records/root/x.partial"), "{").unwrap();
        std::fs::write(world.path("replay/records/new/gone-on"), "").unwrap();
        std::fs::create_dir_all(world.path("replay/checkpoints/half")).unwrap();
        assert_eq!(world.collect(u64::MAX), Freed { bytes: 8192, records: 1, checkpoints: 1, ..Freed::default() });
        assert!(world.path("replay/records/root/x.partial").exists(), "it may be being written");
        world.age("replay/records/root/x.partial", 4000);
        std::fs::write(world.path("replay/records/root/damaged.json"), "{").unwrap();
        assert!(world.collect(u64::MAX).bytes > 0);
        assert!(!world.path("replay/records/root/x.partial").exists());
        assert!(!world.path("replay/records/root/damaged.json").exists());
        world.is_consistent();
        assert!(world.path("replay/records/new/gone-on").exists(), "its record is there");
        world.records.remove(&new);
        world.age("replay/records/new", 4000);
        sweep(world.dir.path(), GRACE);
        assert!(!world.path("replay/records/new").exists());
    }

    #[test]
    fn to_find_nothing_to_do_is_quick() {
        let world = World::new();
        let mut after = "root".to_owned();
        for number in 0..1000 {
            let id = format!("{number:032}");
            world.record(&id, &after, None);
            after = id;
        }
        world.collect(u64::MAX);
        let best = (0..5).map(|_| {
            let started = Instant::now();
            assert_eq!(world.collect(u64::MAX), Freed::default());
            started.elapsed()
        });
        let best = best.min().unwrap();
        // The aim is 20 ms, in a build for users and on a host that does nothing else.
        assert!(best < Duration::from_millis(200), "{best:?}");
    }

    #[test]
    fn the_usual_bound_is_a_fifth_of_the_file_system() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(bound(dir.path(), Some(7)), 7);
        let usual = bound(&dir.path().join("not/there/yet"), None);
        assert!(usual > 0 && usual <= USUAL && usual == bound(dir.path(), None));
    }
}
