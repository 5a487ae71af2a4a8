//! What is in the cache: for `rimg cache`, and to find content under another name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{FlockOperation, flock};
use serde::Serialize;

use super::FOLDER;
use super::hold::is_held;
use super::note::Note;
use crate::error::{Result, io_error};
use crate::host::digest::Algorithm;

/// The names of a place's files; all begin with its key, which has no dot.
pub(super) struct Names;

impl Names {
    /// Returns the name of the content; an extension is kept where it is a plain one.
    pub(super) fn data(key: &str, extension: Option<&str>) -> String {
        let plain = |e: &&str| (1..=8).contains(&e.len()) && e.bytes().all(|b| b.is_ascii_alphanumeric());
        match extension.filter(plain).map(str::to_ascii_lowercase) {
            Some(e) if ["json", "lock", "part"].contains(&e.as_str()) => format!("{key}.data.{e}"),
            Some(e) => format!("{key}.{e}"),
            None => key.to_owned(),
        }
    }

    pub(super) fn note(key: &str) -> String {
        format!("{key}.json")
    }

    pub(super) fn lock(key: &str) -> String {
        format!("{key}.lock")
    }

    pub(super) fn part(key: &str) -> String {
        format!("{key}.part")
    }

    pub(super) fn part_note(key: &str) -> String {
        format!("{key}.part.json")
    }
}

/// What a file of the cache is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Data,
    Note,
    Lock,
    Part,
    PartNote,
}

fn role(name: &str) -> (&str, Role) {
    let (key, rest) = name.split_once('.').unwrap_or((name, ""));
    let role = match rest {
        "json" => Role::Note,
        "lock" => Role::Lock,
        "part" => Role::Part,
        "part.json" => Role::PartNote,
        _ => Role::Data,
    };
    (key, role)
}

/// One download in the cache, whole or begun.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// The file; the beginning of one when it is partial.
    pub path: PathBuf,
    /// Bytes it takes.
    pub size: u64,
    /// Where it came from, as far as that is known.
    pub origin: Option<String>,
    /// Its digests, `sha256:HEX`.
    pub digests: Vec<String>,
    /// Whether it is only the beginning of a file.
    pub partial: bool,
    /// Whether a run works with it.
    pub in_use: bool,
    /// Seconds since it was downloaded.
    pub age: u64,
    /// Seconds since it was last asked for.
    pub unused_for: u64,
    #[serde(skip)]
    files: Vec<PathBuf>,
    #[serde(skip)]
    lock: PathBuf,
}

impl Entry {
    /// Removes it, unless a run works with it or on it; tells whether it did.
    pub fn remove(&self) -> Result<bool> {
        let lock = File::options().create(true).append(true).open(&self.lock).ok();
        if lock.as_ref().is_some_and(|lock| flock(lock, FlockOperation::NonBlockingLockExclusive).is_err())
            || self.files.iter().any(|path| is_held(path))
        {
            return Ok(false);
        }
        for path in self.files.iter().chain([&self.lock]) {
            match std::fs::remove_file(path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(io_error("remove", path, e)),
                _ => {}
            }
        }
        Ok(true)
    }
}

fn listing(folder: &Path) -> Result<BTreeMap<String, Vec<(Role, PathBuf)>>> {
    let mut places: BTreeMap<String, Vec<(Role, PathBuf)>> = BTreeMap::new();
    let files = match std::fs::read_dir(folder) {
        Ok(files) => files,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(places),
        Err(e) => return Err(io_error("read folder", folder, e)),
    };
    for file in files {
        let file = file.map_err(|e| io_error("read folder", folder, e))?;
        let name = file.file_name();
        // What is half written begins with a dot.
        if let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) {
            let (key, role) = role(name);
            places.entry(key.to_owned()).or_default().push((role, file.path()));
        }
    }
    Ok(places)
}

/// Returns what is in the cache, largest first.
pub fn entries(cache_dir: &Path) -> Result<Vec<Entry>> {
    let folder = cache_dir.join(FOLDER);
    let places = listing(&folder)?;
    let mut entries: Vec<Entry> = places.into_iter().filter_map(|(key, files)| entry(&folder, &key, files)).collect();
    entries.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.path.cmp(&b.path)));
    Ok(entries)
}

fn entry(folder: &Path, key: &str, files: Vec<(Role, PathBuf)>) -> Option<Entry> {
    let of = |wanted: Role| files.iter().filter(move |(role, _)| *role == wanted).map(|(_, path)| path);
    let partial = of(Role::Data).next().is_none();
    let path = of(Role::Data).chain(of(Role::Part)).next()?.clone();
    let meta = std::fs::metadata(&path).ok()?;
    let note = of(Role::Note).find_map(|path| Note::read(path));
    let origin = note.as_ref().map(|note| note.url.clone()).or_else(|| {
        let text = std::fs::read(of(Role::PartNote).next()?).ok()?;
        serde_json::from_slice::<serde_json::Value>(&text).ok()?.get("url")?.as_str().map(str::to_owned)
    });
    // A name more for the same content takes nothing.
    let mut seen = BTreeSet::new();
    let metas = of(Role::Data).chain(of(Role::Part)).filter_map(|path| std::fs::metadata(path).ok());
    let size = metas.filter(|meta| seen.insert(meta.ino())).map(|meta| meta.len()).sum();
    let seconds = |time: std::io::Result<SystemTime>| {
        time.ok().and_then(|time| SystemTime::now().duration_since(time).ok()).map_or(0, |age| age.as_secs())
    };
    let lock = folder.join(Names::lock(key));
    let age = seconds(meta.modified());
    let used = std::fs::metadata(&lock).map(|lock| seconds(lock.modified()));
    let digests = note.iter().flat_map(|note| &note.digests).map(|(name, hex)| format!("{name}:{hex}")).collect();
    let being_written =
        || File::open(&lock).is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockShared).is_err());
    Some(Entry {
        size,
        origin,
        digests,
        partial,
        in_use: of(Role::Data).any(|path| is_held(path)) || being_written(),
        age,
        unused_for: used.unwrap_or(age).min(age),
        files: files.iter().filter(|(role, _)| *role != Role::Lock).map(|(_, path)| path.clone()).collect(),
        path,
        lock,
    })
}

/// Removes the notes about files outside the cache: all of them, or those that no longer tell anything.
pub fn clear_notes(cache_dir: &Path, all: bool) -> Result<()> {
    for (key, files) in listing(&cache_dir.join(FOLDER))? {
        let local = key.starts_with("local-");
        if !local && !key.starts_with("target-") {
            continue;
        }
        for (_, path) in files.iter().filter(|(role, _)| *role == Role::Note) {
            // The note about a download's target does not say where that is.
            let of_use = !local || Note::read(path).is_some_and(|note| note.fits(Path::new(&note.url)));
            if all || !of_use {
                std::fs::remove_file(path).map_err(|e| io_error("remove", path, e))?;
            }
        }
    }
    Ok(())
}

/// Finds what the note of a cached file says of it.
pub(super) fn note_of(folder: &Path, path: &Path) -> Option<Note> {
    let name = path.strip_prefix(folder).ok()?.to_str()?;
    let note = Note::read(&folder.join(Names::note(role(name).0)))?;
    note.fits(path).then_some(note)
}

/// Returns the files with the content of a place.
pub(super) fn data_files(folder: &Path, key: &str) -> Vec<PathBuf> {
    let mut places = listing(folder).unwrap_or_default();
    let files = places.remove(key).unwrap_or_default();
    files.into_iter().filter(|(role, _)| *role == Role::Data).map(|(_, path)| path).collect()
}

/// Finds content of which that digest is known, whatever place it has.
pub(super) fn with_digest(folder: &Path, algorithm: Algorithm, hex: &str) -> Option<(PathBuf, Note)> {
    listing(folder).ok()?.into_values().find_map(|files| {
        let note = files.iter().find(|(role, _)| *role == Role::Note).and_then(|(_, path)| Note::read(path))?;
        if !note.has(algorithm, hex) {
            return None;
        }
        let data = files.iter().filter(|(role, _)| *role == Role::Data);
        data.map(|(_, path)| path).find(|path| note.fits(path)).map(|path| (path.clone(), note.clone()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_a_file_is() {
        for (name, expected) in [
            (Names::data("md5-0", Some("iso")), ("md5-0", Role::Data)),
            (Names::data("md5-0", Some("JSON")), ("md5-0", Role::Data)),
            (Names::data("md5-0", Some("a/../b")), ("md5-0", Role::Data)),
            (Names::data("md5-0", None), ("md5-0", Role::Data)),
            (Names::note("md5-0"), ("md5-0", Role::Note)),
            (Names::lock("md5-0"), ("md5-0", Role::Lock)),
            (Names::part("md5-0"), ("md5-0", Role::Part)),
            (Names::part_note("md5-0"), ("md5-0", Role::PartNote)),
        ] {
            assert_eq!(role(&name), expected, "{name}");
            assert!(!name.contains('/'));
        }
    }
}
