//! One place in the cache, and the right to work on it.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::FlockOperation;

use super::FOLDER;
use super::index::{self, Names};
use super::note::{Note, Validator};
use crate::error::{Result, io_error};
use crate::host::digest::{self, Algorithm};
use crate::host::{atomic, dirs};
use crate::ui::Ui;
use crate::ui::event::Unit;

/// How often a lock that another run holds is tried again.
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// One place in the cache.
#[derive(Debug, Clone)]
pub struct Slot {
    cache_dir: PathBuf,
    folder: PathBuf,
    /// Begins the names of all files of this place.
    key: String,
    /// The cached file.
    pub path: PathBuf,
}

impl Slot {
    /// Returns the place for content with that digest.
    pub fn of_digest(cache_dir: &Path, algorithm: Algorithm, hex: &str, extension: Option<&str>) -> Slot {
        Slot::new(cache_dir, format!("{algorithm}-{hex}"), extension)
    }

    /// Returns the place for whatever that URL has.
    pub fn of_url(cache_dir: &Path, url: &str, extension: Option<&str>) -> Slot {
        Slot::new(cache_dir, format!("url-{}", digest::of_bytes(Algorithm::Sha256, url.as_bytes())), extension)
    }

    /// Returns the place for a file outside the cache, which only keeps the notes about it.
    pub fn of_target(cache_dir: &Path, target: &Path) -> Slot {
        let name = digest::of_bytes(Algorithm::Sha256, target.as_os_str().as_encoded_bytes());
        Slot { path: target.to_owned(), ..Slot::new(cache_dir, format!("target-{name}"), None) }
    }

    fn new(cache_dir: &Path, key: String, extension: Option<&str>) -> Slot {
        let folder = cache_dir.join(FOLDER);
        Slot { path: folder.join(Names::data(&key, extension)), cache_dir: cache_dir.to_owned(), folder, key }
    }

    /// Tells whether the file itself is in the cache.
    pub fn is_cached(&self) -> bool {
        self.path.parent() == Some(&self.folder)
    }

    /// Returns where the file is written until it is whole: in the same folder, for the rename.
    pub fn part(&self) -> PathBuf {
        match self.path.file_name() {
            Some(name) if !self.is_cached() => self.path.with_file_name(format!(".{}.part", name.to_string_lossy())),
            _ => self.folder.join(Names::part(&self.key)),
        }
    }

    /// Returns where it is noted what the part is the beginning of.
    pub fn part_note(&self) -> PathBuf {
        self.folder.join(Names::part_note(&self.key))
    }

    fn note_path(&self) -> PathBuf {
        self.folder.join(Names::note(&self.key))
    }

    /// Makes the folder and waits until no other run works on this place; the place is held while the value lives.
    pub async fn lock(&self, ui: &Ui) -> Result<File> {
        dirs::private(&self.folder)?;
        let path = self.folder.join(Names::lock(&self.key));
        let mut said = None;
        loop {
            let file = File::options().create(true).append(true).open(&path).map_err(|e| io_error("open", &path, e))?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                // Whoever cleared the cache in between has removed this very file: then it locks nothing.
                Ok(()) if is_at(&file, &path) => {
                    // When it was last used, for `rimg cache`.
                    let _ = file.set_modified(SystemTime::now());
                    return Ok(file);
                }
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    said.get_or_insert_with(|| {
                        ui.info(format!("Another run is downloading {}; waiting for it", self.shown()));
                        ui.progress("Waiting for another run's download", None, Unit::Spinner)
                    });
                    tokio::time::sleep(LOCK_PAUSE).await;
                }
                Err(e) => return Err(io_error("lock", &path, e.into())),
            }
        }
    }

    fn shown(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Returns the note, if the file is there and still what the note was made of. A file that is there under another
    /// extension gets this one too.
    pub fn note(&self) -> Option<Note> {
        let note = Note::read(&self.note_path())?;
        if self.is_cached() && !self.path.exists() {
            let known = index::data_files(&self.cache_dir, &self.key);
            let other = known.into_iter().find(|path| note.fits(path))?;
            std::fs::hard_link(other, &self.path).ok()?;
        }
        note.fits(&self.path).then_some(note)
    }

    /// Takes over the file of another place which is known to have that digest, and tells whether there is one.
    pub fn adopt(&self, algorithm: Algorithm, hex: &str) -> bool {
        let Some((path, note)) = index::with_digest(&self.cache_dir, algorithm, hex) else { return false };
        let linked = !self.path.exists() && std::fs::hard_link(path, &self.path).is_ok();
        linked && note.fits(&self.path) && note.write(&self.note_path()).is_ok()
    }

    /// Returns the file of any place of the cache which is known to have that digest.
    pub fn elsewhere(&self, algorithm: Algorithm, hex: &str) -> Option<PathBuf> {
        index::with_digest(&self.cache_dir, algorithm, hex).map(|(path, _)| path)
    }

    /// Puts the downloaded part in its place and notes its digests.
    pub fn keep(&self, url: &str, digests: Vec<(String, String)>, validator: Validator) -> Result<()> {
        let part = self.part();
        let file = File::open(&part).map_err(|e| io_error("open", &part, e))?;
        file.sync_all().map_err(|e| io_error("sync", &part, e))?;
        std::fs::rename(&part, &self.path).map_err(|e| io_error("rename into place", &self.path, e))?;
        atomic::remove(&self.part_note());
        self.write_note(url, digests, validator)
    }

    /// Notes what the file in this place is.
    pub fn write_note(&self, url: &str, digests: Vec<(String, String)>, validator: Validator) -> Result<()> {
        match Note::of(&self.path, url, digests, validator) {
            Some(note) => note.write(&self.note_path()),
            None => Ok(()),
        }
    }

    /// Removes the file and its note.
    pub fn clear(&self) {
        atomic::remove(&self.path);
        atomic::remove(&self.note_path());
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(there)) => (open.dev(), open.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}
