//! One file, folder or link that is brought back to where it was made, whole or not at all.

use std::path::{Path, PathBuf};

use super::kept::{Entry, EntryKind, Files, Kept, is_file, set_mode};
use crate::error::{Error, Kind, Result, io_error};
use crate::host::atomic::Pending;
use crate::host::blocking::Cancel;

/// What was made in one place: an entry that is in no folder that was kept, and all that is in it.
pub struct Place<'a> {
    root: &'a Entry,
    inside: Vec<&'a Entry>,
}

/// What stands where an entry belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum There {
    Nothing,
    Same,
    Different,
}

impl<'a> Place<'a> {
    /// Returns the places of all that was kept.
    pub fn of(kept: &'a Kept) -> Vec<Place<'a>> {
        let mut entries: Vec<&Entry> = kept.entries.iter().collect();
        // By components: a folder comes right before what is in it.
        entries.sort_by_key(|entry| &entry.path);
        let mut places: Vec<Place<'a>> = Vec::new();
        for entry in entries {
            match places.last_mut().filter(|place| entry.path.starts_with(&place.root.path)) {
                Some(place) if place.root.kind == EntryKind::Dir => place.inside.push(entry),
                _ => places.push(Place { root: entry, inside: Vec::new() }),
            }
        }
        places
    }

    /// Brings what is missing, and with `force` what is different; adds to `written` what it wrote. In a folder that is there
    /// already, what else is in it stays.
    pub fn bring(
        &self,
        files: &Files,
        force: bool,
        digests: &Path,
        cancel: &Cancel,
        written: &mut Vec<PathBuf>,
    ) -> Result<()> {
        if there(self.root, digests, cancel) == There::Nothing {
            self.write(files, digests, cancel)?.commit()?;
            written.push(self.root.path.clone());
            return Ok(());
        }
        let mut wanted = Vec::new();
        for entry in std::iter::once(self.root).chain(self.inside.iter().copied()) {
            cancel.check()?;
            match there(entry, digests, cancel) {
                There::Same => {}
                There::Different if !force => return Err(differs(&entry.path)),
                found => wanted.push((entry, found)),
            }
        }
        for (entry, found) in &wanted {
            let pending = Pending::beside(&entry.path)?;
            write(entry, pending.path(), files, digests, cancel)?;
            match found {
                There::Different => pending.replace()?,
                _ => pending.commit()?,
            };
            written.push(entry.path.clone());
        }
        set_folders_modes(wanted.into_iter().map(|(entry, _)| (entry, entry.path.clone())).collect())
    }

    /// Writes all of it beside its place.
    fn write(&self, files: &Files, digests: &Path, cancel: &Cancel) -> Result<Pending> {
        let pending = Pending::beside(&self.root.path)?;
        let mut at = vec![(self.root, pending.path().to_owned())];
        for entry in &self.inside {
            let rest = entry.path.strip_prefix(&self.root.path).unwrap_or(&entry.path);
            at.push((entry, pending.path().join(rest)));
        }
        for (entry, to) in &at {
            cancel.check()?;
            write(entry, to, files, digests, cancel)?;
        }
        set_folders_modes(at)?;
        Ok(pending)
    }
}

fn there(entry: &Entry, digests: &Path, cancel: &Cancel) -> There {
    let path = &entry.path;
    if std::fs::symlink_metadata(path).is_err() {
        return There::Nothing;
    }
    let same = match &entry.kind {
        EntryKind::Dir => path.is_dir(),
        EntryKind::Link { target } => std::fs::read_link(path).is_ok_and(|there| there == *target),
        EntryKind::File { size, digest } => is_file(path, *size, digest, digests, cancel),
    };
    if same { There::Same } else { There::Different }
}

fn write(entry: &Entry, to: &Path, files: &Files, digests: &Path, cancel: &Cancel) -> Result<()> {
    match &entry.kind {
        EntryKind::Dir => std::fs::create_dir(to).map_err(|e| io_error("create folder", to, e)),
        EntryKind::Link { target } => std::os::unix::fs::symlink(target, to).map_err(|e| io_error("make link", to, e)),
        EntryKind::File { size, digest } => files.write(entry, (*size, digest), to, digests, cancel),
    }
}

/// Gives folders their modes when they are filled: nothing can be put into a read-only one.
fn set_folders_modes(entries: Vec<(&Entry, PathBuf)>) -> Result<()> {
    let folders = entries.into_iter().rev().filter(|(entry, _)| entry.kind == EntryKind::Dir);
    folders.into_iter().try_for_each(|(entry, path)| set_mode(&path, entry.mode))
}

fn differs(path: &Path) -> Error {
    Error::new(Kind::Exists, format!("{} exists already, and is not what this run would write", path.display()))
        .hint("remove it, choose another output, or run with --force to replace it")
}
