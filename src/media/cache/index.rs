//! What is in the cache: for `rimg cache`, and to find content under another name.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;

use super::note::Note;
use crate::error::{Result, io_error};
use crate::host::digest::Algorithm;
use crate::host::downloads::{self, Files, Role};

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
}

impl Entry {
    /// Returns what there is to know about a download; none where there is nothing of its content.
    pub fn of(files: &Files) -> Option<Entry> {
        let path = files.content()?.to_owned();
        let note = files.of(Role::Note).find_map(Note::read);
        let digests = note.iter().flat_map(|note| &note.digests).map(|(name, hex)| format!("{name}:{hex}")).collect();
        Some(Entry {
            size: files.size(),
            origin: origin(files),
            digests,
            partial: files.of(Role::Data).next().is_none(),
            in_use: files.in_use(),
            age: seconds_since(files.made()),
            unused_for: seconds_since(files.used()),
            path,
        })
    }
}

/// Returns where a download came from, as far as that is known.
fn origin(files: &Files) -> Option<String> {
    files.of(Role::Note).find_map(Note::read).map(|note| note.url).or_else(|| {
        let text = std::fs::read(files.of(Role::PartNote).next()?).ok()?;
        serde_json::from_slice::<serde_json::Value>(&text).ok()?.get("url")?.as_str().map(str::to_owned)
    })
}

fn seconds_since(time: Option<SystemTime>) -> u64 {
    time.and_then(|time| SystemTime::now().duration_since(time).ok()).map_or(0, |age| age.as_secs())
}

/// Removes the notes about files outside the cache: all of them, or those that no longer tell anything.
pub fn clear_notes(cache_dir: &Path, all: bool) -> Result<()> {
    for files in downloads::all(cache_dir)? {
        let local = files.key.starts_with("local-");
        if !local && !files.key.starts_with("target-") {
            continue;
        }
        for path in files.of(Role::Note) {
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
    let note = Note::read(&folder.join(Names::note(Role::of(name).0)))?;
    note.fits(path).then_some(note)
}

/// Returns the files with the content of a place.
pub(super) fn data_files(cache_dir: &Path, key: &str) -> Vec<PathBuf> {
    let all = downloads::all(cache_dir).unwrap_or_default();
    let own = all.iter().filter(|files| files.key == key);
    own.flat_map(|files| files.of(Role::Data)).map(Path::to_owned).collect()
}

/// Finds content of which that digest is known, whatever place it has.
pub(super) fn with_digest(cache_dir: &Path, algorithm: Algorithm, hex: &str) -> Option<(PathBuf, Note)> {
    downloads::all(cache_dir).ok()?.iter().find_map(|files| {
        let note = files.of(Role::Note).next().and_then(Note::read).filter(|note| note.has(algorithm, hex))?;
        let path = files.of(Role::Data).find(|path| note.fits(path))?;
        Some((path.to_owned(), note))
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
            assert_eq!(Role::of(&name), expected, "{name}");
            assert!(!name.contains('/'));
        }
    }
}
