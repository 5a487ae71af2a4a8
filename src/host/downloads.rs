//! The files of the cache of downloads: which belong together, whether a run works with them, and removing them.
//!
//! A download has several files, whose names all begin with its key: the content, a note about it, a lock, and while it is
//! incomplete the part that there is and a note about that. What is in it is the media room's to know.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::lock::Lock;
use crate::error::{Result, io_error};

/// The folder of downloads within the cache.
pub const FOLDER: &str = "downloads";

/// What a file of the cache is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Data,
    Note,
    Lock,
    Part,
    PartNote,
}

impl Role {
    /// Returns the key of the download that a file of that name belongs to, and what it is of it.
    pub fn of(name: &str) -> (&str, Role) {
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
}

/// The files of one download, whole or begun, or the notes about a file elsewhere.
#[derive(Debug, Clone)]
pub struct Files {
    pub key: String,
    files: Vec<(Role, PathBuf)>,
    lock: PathBuf,
}

/// Returns what there is, by key.
pub fn all(cache_dir: &Path) -> Result<Vec<Files>> {
    let folder = cache_dir.join(FOLDER);
    let mut found: BTreeMap<String, Vec<(Role, PathBuf)>> = BTreeMap::new();
    let files = match std::fs::read_dir(&folder) {
        Ok(files) => files,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(io_error("read folder", &folder, e)),
    };
    for file in files {
        let file = file.map_err(|e| io_error("read folder", &folder, e))?;
        let name = file.file_name();
        // What is half written begins with a dot.
        if let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) {
            let (key, role) = Role::of(name);
            found.entry(key.to_owned()).or_default().push((role, file.path()));
        }
    }
    let of = |(key, files)| Files { lock: folder.join(format!("{key}.lock")), key, files };
    Ok(found.into_iter().map(of).collect())
}

impl Files {
    /// Returns the files of one role.
    pub fn of(&self, role: Role) -> impl Iterator<Item = &Path> {
        self.files.iter().filter(move |(own, _)| *own == role).map(|(_, path)| path.as_path())
    }

    /// Returns the content, or what there is of it; none where there are only notes.
    pub fn content(&self) -> Option<&Path> {
        self.of(Role::Data).chain(self.of(Role::Part)).next()
    }

    /// Returns the bytes of its content. A name more for the same takes nothing.
    pub fn size(&self) -> u64 {
        let mut seen = BTreeSet::new();
        let metas = self.of(Role::Data).chain(self.of(Role::Part)).filter_map(|path| std::fs::metadata(path).ok());
        metas.filter(|meta| seen.insert(meta.ino())).map(|meta| meta.len()).sum()
    }

    /// Returns when it was downloaded.
    pub fn made(&self) -> Option<SystemTime> {
        std::fs::metadata(self.content()?).and_then(|meta| meta.modified()).ok()
    }

    /// Returns when it was last asked for.
    pub fn used(&self) -> Option<SystemTime> {
        let locked = std::fs::metadata(&self.lock).and_then(|meta| meta.modified()).ok();
        self.made().max(locked)
    }

    /// Tells whether a run works with it or on it.
    pub fn in_use(&self) -> bool {
        self.of(Role::Data).chain([self.lock.as_path()]).any(Lock::is_held)
    }

    /// Removes it, unless a run works with it or on it; tells whether it did.
    pub fn remove(&self) -> Result<bool> {
        let _ = File::options().create(true).append(true).open(&self.lock);
        let lock = Lock::exclusive(&self.lock);
        // Without a lock there is nobody who could have it: the folder cannot be written to.
        if (lock.is_none() && self.lock.exists()) || self.of(Role::Data).any(Lock::is_held) {
            return Ok(false);
        }
        for path in self.files.iter().filter(|(role, _)| *role != Role::Lock).map(|(_, path)| path).chain([&self.lock])
        {
            match std::fs::remove_file(path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(io_error("remove", path, e)),
                _ => {}
            }
        }
        Ok(true)
    }
}
