//! `rimg gc`: removing what dead runs left.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::collector::Collectors;
use super::entry::{Begin, Line, Trace};
use super::run::{JOURNAL, LOCK};
use super::runs::{self, Run};
use super::story::{Story, Thing};
use super::{stores, unfinished};
use crate::engine::replay::usage::of_tree;
use crate::error::{Error, Kind, Result, io_error};
use crate::host::census::{self, Found, Identity};
use crate::host::lock::Lock;
use crate::host::{atomic, blocking};

/// What became of a thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    Removed,
    /// An output that was put aside is where it was.
    Restored,
    /// With `--dry-run`.
    WouldRemove,
    WouldRestore,
    /// It could not be removed, and stays in the journal.
    Stays,
}

/// A thing that a dead run left.
#[derive(Debug, Clone, Serialize)]
pub struct Item {
    pub fate: Fate,
    pub kind: String,
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub build: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub run: String,
    /// Seconds since it was made, as far as known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age: Option<u64>,
    /// What it takes on the disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Why it stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What is to be removed.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Names of builds and ids of runs: what these left, what is kept on purpose included. Without any: what all dead runs
    /// left, less what is kept.
    pub names: Vec<String>,
    pub dry_run: bool,
}

impl Wanted {
    fn names(&self, id: &str) -> bool {
        // A few characters of an id are a name that somebody chose.
        self.names.iter().any(|name| name.len() >= 4 && id.starts_with(name.as_str()))
    }

    fn names_thing(&self, id: &str, thing: &Thing) -> bool {
        self.names(id) || self.names.iter().any(|name| *name == thing.build || *name == thing.name)
    }
}

/// Removes what dead runs left and returns what became of it, each thing told to `tell` at once.
pub async fn collect(
    (state_dir, cache_dir): (&Path, &Path),
    wanted: &Wanted,
    collectors: Collectors<'_>,
    tell: &mut (dyn FnMut(&Item) + Send),
) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    let mut tell = |item: Item| {
        tell(&item);
        items.push(item);
    };
    let mut found: BTreeSet<&String> = BTreeSet::new();
    for run in runs::all(state_dir)? {
        let Some(story) = run.story() else {
            if wanted.names.is_empty() && run.folder.join(JOURNAL).exists() {
                let why = "its journal was written by a later version of rimg";
                tell(Item { why: Some(why.into()), ..Item::of(Fate::Stays, "run", &run.id, &run) });
            }
            continue;
        };
        let is_meant = |name: &&String| {
            let only = Wanted { names: vec![(*name).clone()], dry_run: false };
            only.names(&run.id) || story.things.values().any(|thing| only.names_thing(&run.id, thing))
        };
        let meant: Vec<&String> = wanted.names.iter().filter(is_meant).collect();
        found.extend(&meant);
        if !wanted.names.is_empty() && meant.is_empty() {
            continue;
        }
        let Some(lock) = run.take() else {
            if let Some(name) = meant.first() {
                return Err(Error::new(Kind::Usage, format!("{name} belongs to a run that is going on: {}", run.id))
                    .hint("end that run with Ctrl-C; `rimg ps` shows where it is"));
            }
            continue;
        };
        // What was written between the first look and the lock counts, too.
        let Some(story) = run.story() else { continue };
        Collection {
            run: &run,
            story,
            wanted,
            collectors,
            aside: BTreeSet::new(),
            told: BTreeSet::new(),
            tell: &mut tell,
        }
        .carry_out(lock)
        .await?;
    }
    if let Some(name) = wanted.names.iter().find(|name| !found.contains(name)) {
        return Err(Error::new(Kind::Usage, format!("no run has left anything named {name:?}"))
            .hint("`rimg ps` lists what is up and what was left"));
    }
    if wanted.names.is_empty() {
        let (state_dir, cache_dir, dry_run) = (state_dir.to_owned(), cache_dir.to_owned(), wanted.dry_run);
        let swept = blocking::run(move |_| stores::sweep(&state_dir, &cache_dir, dry_run)).await?;
        swept.into_iter().for_each(tell);
    }
    Ok(items)
}

impl Item {
    fn of(fate: Fate, kind: &str, name: &str, run: &Run) -> Item {
        Item {
            fate,
            kind: kind.to_owned(),
            name: name.to_owned(),
            build: String::new(),
            run: run.id.clone(),
            age: None,
            bytes: None,
            why: None,
        }
    }
}

/// What one dead run left, on its way out. What has the lock on the run's folder is alone with it.
struct Collection<'a> {
    run: &'a Run,
    story: Story,
    wanted: &'a Wanted,
    collectors: Collectors<'a>,
    /// Outputs that are where they were put aside: they are no unfinished files.
    aside: BTreeSet<PathBuf>,
    /// What a dry run has told of already.
    told: BTreeSet<PathBuf>,
    tell: &'a mut (dyn FnMut(Item) + Send),
}

impl Collection<'_> {
    async fn carry_out(mut self, lock: Lock) -> Result<()> {
        let Some(begin) = self.story.begin.clone() else {
            return self.strike_out(lock);
        };
        let (spared, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.story.things)
            .into_iter()
            .partition(|(_, thing)| thing.kept.is_some() && !self.wanted.names_thing(&self.run.id, thing));
        let mut stays = self.end_processes(&begin, &spared, &gone).await?;
        // Last made, first removed.
        for (id, thing) in gone.iter().rev() {
            stays |= !self.remove(*id, thing).await?;
        }
        stays |= self.put_back().await?;
        stays |= self.remove_unfinished(&begin).await?;
        stays |= self.clear_work(&begin.work, &spared).await?;
        if stays || self.wanted.dry_run || !spared.is_empty() {
            return Ok(());
        }
        self.strike_out(lock)
    }

    /// Ends what still runs; tells whether something stays.
    async fn end_processes(&mut self, begin: &Begin, spared: &[(u64, Thing)], gone: &[(u64, Thing)]) -> Result<bool> {
        if begin.boot != census::boot_id() {
            return Ok(false);
        }
        let of = |things: &[(u64, Thing)]| -> Vec<Identity> {
            things.iter().flat_map(|(_, thing)| thing.processes.iter().copied()).collect()
        };
        let (known, kept, run, dry_run) = (of(gone), of(spared), self.run.id.clone(), self.wanted.dry_run);
        let (found, left) = blocking::run(move |_| {
            let find = || census::of_run(&run, &known, &kept);
            let found = find();
            let left = if dry_run { Vec::new() } else { census::end(find) };
            Ok((found, left))
        })
        .await?;
        for process in &found {
            let name = format!("{} ({})", process.name, process.identity.pid);
            let stays = left.iter().any(|other| other.identity == process.identity);
            let item = match (stays, self.wanted.dry_run) {
                (true, _) => {
                    Item { why: Some(unkillable(process)), ..Item::of(Fate::Stays, "process", &name, self.run) }
                }
                (false, true) => Item::of(Fate::WouldRemove, "process", &name, self.run),
                (false, false) => Item::of(Fate::Removed, "process", &name, self.run),
            };
            let whose = gone.iter().find(|(_, thing)| thing.processes.contains(&process.identity));
            let (build, age) = whose.map(|(_, thing)| (thing.build.clone(), since(thing.at))).unzip();
            (self.tell)(Item { build: build.unwrap_or_default(), age, ..item });
        }
        Ok(!left.is_empty())
    }

    /// Removes one thing and strikes it out; tells whether it is gone.
    async fn remove(&mut self, id: u64, thing: &Thing) -> Result<bool> {
        let dry_run = self.wanted.dry_run;
        let item = |fate| Item {
            build: thing.build.clone(),
            age: Some(since(thing.at)),
            ..Item::of(fate, &thing.kind, &thing.name, self.run)
        };
        let outcome = match &thing.trace {
            // Processes were looked for by their mark, and are told by themselves.
            Trace::Memory | Trace::Process => Ok(None),
            Trace::Path(path) if dry_run && !self.told.insert(path.clone()) => Ok(None),
            Trace::Path(path) => remove_path(path.clone(), dry_run).await.map(|bytes| bytes.map(Some)),
            Trace::Elsewhere { collector, what } => match self.collectors.iter().find(|(name, _)| name == collector) {
                Some((_, collector)) => collector.collect(what, dry_run).await.map(|there| there.then_some(None)),
                None => Err(Error::new(Kind::Unsupported, format!("this rimg cannot reach {collector}"))),
            },
        };
        match outcome {
            Ok(None) => {}
            Ok(Some(bytes)) => {
                let fate = if dry_run { Fate::WouldRemove } else { Fate::Removed };
                (self.tell)(Item { bytes, ..item(fate) });
            }
            Err(error) => {
                let why = error.full_message();
                (self.tell)(Item { why: Some(why.clone()), ..item(Fate::Stays) });
                self.write(&Line::Stays { id, why })?;
                return Ok(false);
            }
        }
        if !dry_run {
            self.write(&Line::Gone { id })?;
        }
        Ok(true)
    }

    /// Puts outputs that were put aside back where nothing came in their place; tells whether something stays.
    async fn put_back(&mut self) -> Result<bool> {
        let mut stays = false;
        for (aside, target) in std::mem::take(&mut self.story.asides) {
            let there = |path: &Path| std::fs::symlink_metadata(path).is_ok();
            if !there(&aside) || there(&target) {
                continue;
            }
            let name = target.display().to_string();
            let item = match self.wanted.dry_run {
                true => {
                    self.aside.insert(aside);
                    Item::of(Fate::WouldRestore, "output", &name, self.run)
                }
                false => match std::fs::rename(&aside, &target) {
                    Ok(()) => Item::of(Fate::Restored, "output", &name, self.run),
                    Err(error) => {
                        stays = true;
                        let why = format!("it is at {}, and cannot be put back: {error}", aside.display());
                        self.aside.insert(aside);
                        Item { why: Some(why), ..Item::of(Fate::Stays, "output", &name, self.run) }
                    }
                },
            };
            (self.tell)(item);
        }
        Ok(stays)
    }

    /// Removes files that were never finished; tells whether something stays.
    async fn remove_unfinished(&mut self, begin: &Begin) -> Result<bool> {
        let (run, dry_run) = (self.run.id.clone(), self.wanted.dry_run);
        let (folders, places) = (std::mem::take(&mut self.story.folders), begin.stores.clone());
        let found = blocking::run(move |_| {
            let mut found: BTreeSet<PathBuf> = folders.iter().flat_map(|folder| unfinished::of(folder, &run)).collect();
            for store in &places {
                stores::walk(store, &mut |path, owner| {
                    if owner == run {
                        found.insert(path.to_owned());
                    }
                });
            }
            Ok(found)
        })
        .await?;
        let mut stays = false;
        for path in found.difference(&self.aside).cloned() {
            let fate = if dry_run { Fate::WouldRemove } else { Fate::Removed };
            let name = path.display().to_string();
            match remove_path(path, dry_run).await {
                Ok(None) => {}
                Ok(bytes) => (self.tell)(Item { bytes, ..Item::of(fate, "unfinished file", &name, self.run) }),
                Err(error) => {
                    stays = true;
                    let why = Some(error.full_message());
                    (self.tell)(Item { why, ..Item::of(Fate::Stays, "unfinished file", &name, self.run) });
                }
            }
        }
        Ok(stays)
    }

    /// Removes the run's work folder, but for what is kept in it; tells whether something stays.
    async fn clear_work(&mut self, work: &Path, spared: &[(u64, Thing)]) -> Result<bool> {
        let kept: Vec<&PathBuf> = spared
            .iter()
            .filter_map(|(_, thing)| match &thing.trace {
                Trace::Path(path) => Some(path),
                _ => None,
            })
            .collect();
        let paths: Vec<PathBuf> = if kept.is_empty() {
            vec![work.to_owned()]
        } else {
            let inside = std::fs::read_dir(work).into_iter().flatten().flatten().map(|entry| entry.path());
            inside.filter(|path| !kept.iter().any(|kept| kept.starts_with(path))).collect()
        };
        let mut stays = false;
        for path in paths {
            let name = path.display().to_string();
            let fate = if self.wanted.dry_run { Fate::WouldRemove } else { Fate::Removed };
            match remove_path(path, self.wanted.dry_run).await {
                Ok(None) => {}
                Ok(bytes) => {
                    // What is in it was told of already.
                    let bytes = bytes.filter(|_| !self.wanted.dry_run);
                    (self.tell)(Item { bytes, ..Item::of(fate, "folder", &name, self.run) });
                }
                Err(error) => {
                    stays = true;
                    let why = Some(error.full_message());
                    (self.tell)(Item { why, ..Item::of(Fate::Stays, "folder", &name, self.run) });
                }
            }
        }
        Ok(stays)
    }

    /// Removes the journal, which says nothing any more.
    fn strike_out(&self, lock: Lock) -> Result<()> {
        for name in [JOURNAL, LOCK] {
            atomic::remove(&self.run.folder.join(name));
        }
        let folder = &self.run.folder;
        let removed = std::fs::remove_dir(folder);
        drop(lock);
        match removed {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(io_error("remove", folder, e)),
            _ => Ok(()),
        }
    }

    fn write(&self, line: &Line) -> Result<()> {
        use std::io::Write;
        let path = self.run.folder.join(JOURNAL);
        // The last line may be half a one.
        let bytes = [b"\n", line.to_bytes().as_slice()].concat();
        let written = std::fs::File::options().append(true).open(&path).and_then(|mut file| file.write_all(&bytes));
        written.map_err(|e| io_error("write the journal", &path, e))
    }
}

/// Removes a file or folder; returns its size, none when nothing is there.
async fn remove_path(path: PathBuf, dry_run: bool) -> Result<Option<u64>> {
    let path = Arc::new(path);
    blocking::run(move |_| {
        if std::fs::symlink_metadata(&*path).is_err() {
            return Ok(None);
        }
        let bytes = of_tree(&path);
        if !dry_run {
            let removed = match std::fs::symlink_metadata(&*path).is_ok_and(|meta| meta.is_dir()) {
                true => std::fs::remove_dir_all(&*path),
                false => std::fs::remove_file(&*path),
            };
            removed.map_err(|e| io_error("remove", &*path, e))?;
        }
        Ok(Some(bytes))
    })
    .await
}

fn unkillable(process: &Found) -> String {
    match std::fs::read_link(format!("/proc/{}/exe", process.identity.pid)) {
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => "it runs as another user".to_owned(),
        _ => "it does not end, not even when it is killed".to_owned(),
    }
}

fn since(at: i64) -> u64 {
    jiff::Timestamp::now().as_second().saturating_sub(at).max(0).unsigned_abs()
}
