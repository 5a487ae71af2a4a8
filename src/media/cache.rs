//! The cache of downloads: each file under the digest it must have, with a note that saves hashing it again.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::error::{Result, io_error};
use crate::host::digest::{self, Algorithm};
use crate::host::{atomic, blocking, dirs};
use crate::ui::Ui;
use crate::ui::event::Unit;

/// How often a lock that another run holds is tried again.
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// What a file was when its digest was last known: while that is unchanged, so is the digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    size: u64,
    /// Nanoseconds since 1970.
    mtime: i128,
    inode: u64,
}

impl Identity {
    fn of(path: &Path) -> Option<Identity> {
        let meta = std::fs::metadata(path).ok()?;
        let mtime = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
        Some(Identity { size: meta.size(), mtime, inode: meta.ino() })
    }
}

/// The note beside a cached file, or about a local one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Note {
    /// Where it came from, for `rimg cache ls`.
    pub url: String,
    identity: Identity,
    /// Algorithm and digest.
    digests: Vec<(String, String)>,
    /// What the server said, to ask it later whether there is something newer.
    #[serde(default)]
    pub etag: Option<String>,
    #[serde(default)]
    pub last_modified: Option<String>,
}

/// One place in the cache.
#[derive(Debug, Clone)]
pub struct Slot {
    folder: PathBuf,
    /// Begins the names of all files of this place.
    key: String,
    /// The cached file.
    pub path: PathBuf,
}

impl Slot {
    /// Returns the place for content with that digest; `name` gives the file its extension.
    pub fn of_digest(cache_dir: &Path, algorithm: Algorithm, hex: &str, name: &str) -> Slot {
        Slot::new(cache_dir, format!("{algorithm}-{hex}"), name)
    }

    /// Returns the place for whatever that URL has.
    pub fn of_url(cache_dir: &Path, url: &str, name: &str) -> Slot {
        Slot::new(cache_dir, format!("url-{}", digest::of_bytes(Algorithm::Sha256, url.as_bytes())), name)
    }

    fn new(cache_dir: &Path, key: String, name: &str) -> Slot {
        let folder = cache_dir.join("downloads");
        let extension = Path::new(name).extension().and_then(|e| e.to_str()).unwrap_or_default();
        let fits = (1..=8).contains(&extension.len()) && extension.bytes().all(|b| b.is_ascii_alphanumeric());
        let file = if fits { format!("{key}.{}", extension.to_ascii_lowercase()) } else { key.clone() };
        Slot { path: folder.join(file), folder, key }
    }

    /// Returns where the file is written until it is whole.
    pub fn part(&self) -> PathBuf {
        self.folder.join(format!("{}.part", self.key))
    }

    fn note_path(&self) -> PathBuf {
        self.folder.join(format!("{}.json", self.key))
    }

    /// Makes the folder and waits until no other run works on this place; the place is held while the value lives.
    pub async fn lock(&self, ui: &Ui) -> Result<File> {
        dirs::private(&self.folder)?;
        let path = self.folder.join(format!("{}.lock", self.key));
        let file = File::options().create(true).append(true).open(&path).map_err(|e| io_error("open", &path, e))?;
        let mut said = None;
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(file),
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    said.get_or_insert_with(|| ui.progress("Waiting for another download of it", None, Unit::Spinner));
                    tokio::time::sleep(LOCK_PAUSE).await;
                }
                Err(e) => return Err(io_error("lock", &path, e.into())),
            }
        }
    }

    /// Returns the note, if the file is there and still what the note was made of.
    pub fn note(&self) -> Option<Note> {
        let note = read_note(&self.note_path())?;
        (Identity::of(&self.path)? == note.identity).then_some(note)
    }

    /// Puts the downloaded part in its place and notes its digests.
    pub fn keep(
        &self,
        url: &str,
        digests: Vec<(String, String)>,
        etag: Option<String>,
        last_modified: Option<String>,
    ) -> Result<()> {
        let part = self.part();
        let file = File::open(&part).map_err(|e| io_error("open", &part, e))?;
        file.sync_all().map_err(|e| io_error("sync", &part, e))?;
        std::fs::rename(&part, &self.path).map_err(|e| io_error("rename into place", &self.path, e))?;
        let Some(identity) = Identity::of(&self.path) else { return Ok(()) };
        write_note(&self.note_path(), &Note { url: url.to_owned(), identity, digests, etag, last_modified })
    }

    /// Removes the file and its note.
    pub fn clear(&self) {
        atomic::remove(&self.path);
        atomic::remove(&self.note_path());
    }
}

fn read_note(path: &Path) -> Option<Note> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

fn write_note(path: &Path, note: &Note) -> Result<()> {
    let text = serde_json::to_vec_pretty(note).unwrap_or_default();
    atomic::write(path, &text).map(drop)
}

/// Returns a file's digest, from the note about it while the file is unchanged, else by reading it.
pub async fn digest_of(path: &Path, algorithm: Algorithm, cache_dir: &Path, ui: &Ui) -> Result<String> {
    let folder = cache_dir.join("downloads");
    let key = digest::of_bytes(Algorithm::Sha256, path.as_os_str().as_encoded_bytes());
    let note_path = folder.join(format!("local-{key}.json"));
    let (path, ui) = (path.to_owned(), ui.clone());
    blocking::run(move |cancel| {
        let before = Identity::of(&path);
        let known = read_note(&note_path).filter(|note| Some(&note.identity) == before.as_ref());
        let mut digests = known.map(|note| note.digests).unwrap_or_default();
        if let Some((_, hex)) = digests.iter().find(|(name, _)| name == algorithm.as_str()) {
            return Ok(hex.clone());
        }
        let shown = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let progress = ui.progress(format!("Verifying {shown}"), before.as_ref().map(|id| id.size), Unit::Bytes);
        let hex = digest::of_file(&path, &[algorithm], cancel, &|n| progress.add(n))?.pop().unwrap_or_default();
        let Some(identity) = before.filter(|before| Identity::of(&path).as_ref() == Some(before)) else {
            return Ok(hex);
        };
        digests.push((algorithm.to_string(), hex.clone()));
        let note = Note { url: path.display().to_string(), identity, digests, etag: None, last_modified: None };
        // Only time is lost without the note.
        let _ = dirs::private(&folder).and_then(|_| write_note(&note_path, &note));
        Ok(hex)
    })
    .await
}
