//! What is noted about a file, so that it need not be read again to know what it is.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::FOLDER;
use crate::error::Result;
use crate::host::digest::{self, Algorithm};
use crate::host::{atomic, blocking, dirs};
use crate::ui::Ui;
use crate::ui::event::Unit;

/// What a file was when its digest was last known: while that is unchanged, so is the digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    size: u64,
    /// Nanoseconds since 1970.
    mtime: i128,
    inode: u64,
}

impl Identity {
    pub(super) fn of(path: &Path) -> Option<Identity> {
        let meta = std::fs::metadata(path).ok()?;
        let mtime = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
        Some(Identity { size: meta.size(), mtime, inode: meta.ino() })
    }
}

/// What a server says of the version it sends (RFC 9110 §8.8), to be asked about that later.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validator {
    #[serde(default)]
    pub etag: Option<String>,
    #[serde(default)]
    pub last_modified: Option<String>,
}

impl Validator {
    /// Returns what `If-Range` may be given: a strong entity tag, or else the time of the last change (RFC 9110 §13.1.5).
    pub fn for_range(&self) -> Option<&str> {
        let strong = self.etag.as_deref().filter(|etag| !etag.starts_with("W/"));
        strong.or(self.last_modified.as_deref())
    }
}

/// The note beside a cached file, or about a local one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Note {
    /// Where it came from.
    pub url: String,
    pub(super) identity: Identity,
    /// Algorithm and digest.
    pub digests: Vec<(String, String)>,
    #[serde(default)]
    pub validator: Validator,
}

impl Note {
    /// Makes the note of a file as it is now; none when there is no file.
    pub(super) fn of(path: &Path, url: &str, digests: Vec<(String, String)>, validator: Validator) -> Option<Note> {
        Some(Note { url: url.to_owned(), identity: Identity::of(path)?, digests, validator })
    }

    /// Tells whether the file is still what the note was made of.
    pub(super) fn fits(&self, path: &Path) -> bool {
        Identity::of(path).as_ref() == Some(&self.identity)
    }

    /// Tells whether the file is known to have that digest.
    pub fn has(&self, algorithm: Algorithm, hex: &str) -> bool {
        self.digests.iter().any(|(name, digest)| name == algorithm.as_str() && digest == hex)
    }

    pub(super) fn read(path: &Path) -> Option<Note> {
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).unwrap_or_default();
        atomic::write(path, &text).map(drop)
    }
}

/// Returns the digest of a file that may be one of the cache, which then is known already.
pub async fn known_digest(path: &Path, algorithm: Algorithm, cache_dir: &Path, ui: &Ui) -> Result<String> {
    let noted = super::index::note_of(&cache_dir.join(FOLDER), path);
    let digests = noted.map(|note| note.digests).unwrap_or_default();
    match digests.into_iter().find(|(name, _)| name == algorithm.as_str()) {
        Some((_, hex)) => Ok(hex),
        None => digest_of(path, algorithm, cache_dir, ui).await,
    }
}

/// Returns a file's digest, from the note about it while the file is unchanged, else by reading it.
pub async fn digest_of(path: &Path, algorithm: Algorithm, cache_dir: &Path, ui: &Ui) -> Result<String> {
    let folder = cache_dir.join(FOLDER);
    let key = digest::of_bytes(Algorithm::Sha256, path.as_os_str().as_encoded_bytes());
    let note_path = folder.join(format!("local-{key}.json"));
    let (path, ui) = (path.to_owned(), ui.clone());
    blocking::run(move |cancel| {
        let before = Identity::of(&path);
        let known = Note::read(&note_path).filter(|note| Some(&note.identity) == before.as_ref());
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
        let note = Note { url: path.display().to_string(), identity, digests, validator: Validator::default() };
        // Only time is lost without the note.
        let _ = dirs::private(&folder).and_then(|_| note.write(&note_path));
        Ok(hex)
    })
    .await
}
