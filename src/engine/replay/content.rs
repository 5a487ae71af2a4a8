//! Digests of files and trees, by content, mode and name; what was read once and has not changed since is not read again.

use std::fs::Metadata;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::engine::BuildCx;
use crate::error::{Error, Kind, Result, io_error};
use crate::host::blocking::{self, Cancel};
use crate::host::{atomic, dirs};

/// Smaller files are read each time: that is no slower than to look up what is known of them.
const WORTH_KNOWING: u64 = 1 << 20;

/// What tells that a file is still the one that was read. The time of change of its inode cannot be set back.
fn stamp(meta: &Metadata) -> String {
    format!(
        "{} {} {} {}.{:09} {}.{:09}",
        meta.dev(),
        meta.ino(),
        meta.len(),
        meta.mtime(),
        meta.mtime_nsec(),
        meta.ctime(),
        meta.ctime_nsec()
    )
}

/// Returns the digest of a file's content, `blake3:…`.
pub async fn file(path: impl Into<PathBuf>, cx: &BuildCx) -> Result<String> {
    let (path, cache) = (path.into(), cx.settings.cache_dir.join("digests"));
    blocking::run(move |cancel| known_file(&path, &cache, cancel)).await
}

/// Returns one digest of all that a file or folder holds: names, kinds, modes, links' targets, content; no times, no owners.
pub async fn tree(path: impl Into<PathBuf>, cx: &BuildCx) -> Result<String> {
    let (path, cache) = (path.into(), cx.settings.cache_dir.join("digests"));
    blocking::run(move |cancel| {
        let mut hasher = blake3::Hasher::new();
        add(&mut hasher, &path, b"", &cache, cancel)?;
        Ok(format!("blake3:{}", hasher.finalize().to_hex()))
    })
    .await
}

/// Returns the digest of a file's content, and keeps it in `cache` for as long as the file stays as it is.
pub(super) fn known_file(path: &Path, cache: &Path, cancel: &Cancel) -> Result<String> {
    let fault = |e| io_error("read", path, e);
    let file = std::fs::File::open(path).map_err(fault)?;
    let before = file.metadata().map_err(fault)?;
    if let Some(digest) = known(path, &before, cache) {
        return Ok(digest);
    }
    let mut hasher = blake3::Hasher::new();
    hasher
        .update_reader(Watched(&file, cancel))
        .map_err(|e| if cancel.is_cancelled() { Error::new(Kind::Cancelled, "cancelled") } else { fault(e) })?;
    let digest = format!("blake3:{}", hasher.finalize().to_hex());
    let after = file.metadata().map_err(fault)?;
    if stamp(&after) == stamp(&before) {
        remember(path, &after, &digest, cache);
    }
    Ok(digest)
}

/// A file that is read only for as long as somebody waits for it.
struct Watched<'a>(&'a std::fs::File, &'a Cancel);

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.1.check_io()?;
        self.0.read(buffer)
    }
}

/// Returns what is known of a file that is as it was when that was noted.
fn known(path: &Path, meta: &Metadata, cache: &Path) -> Option<String> {
    if meta.len() < WORTH_KNOWING {
        return None;
    }
    let text = std::fs::read_to_string(note(path, cache)?).ok()?;
    let (known, digest) = text.split_once('\n')?;
    (known == stamp(meta) && digest.starts_with("blake3:")).then(|| digest.to_owned())
}

/// Notes the digest of a file of which `meta` was taken when its content had that digest. It is no harm if that fails.
pub(super) fn remember(path: &Path, meta: &Metadata, digest: &str, cache: &Path) {
    // A file that was written a moment ago may be written again within the clock's grain: it is read again next time.
    let settled = meta.modified().ok().and_then(|time| time.elapsed().ok()).is_some_and(|age| age.as_millis() > 100);
    if meta.len() >= WORTH_KNOWING
        && settled
        && let Some(note) = note(path, cache)
        && dirs::private(cache).is_ok()
    {
        let _ = atomic::write(&note, format!("{}\n{digest}", stamp(meta)).as_bytes());
    }
}

/// Returns where it is noted what is known of a file.
fn note(path: &Path, cache: &Path) -> Option<PathBuf> {
    let name = blake3::hash(std::path::absolute(path).ok()?.as_os_str().as_encoded_bytes()).to_hex();
    Some(cache.join(name.get(..32).unwrap_or(&name)))
}

fn add(hasher: &mut blake3::Hasher, path: &Path, name: &[u8], cache: &Path, cancel: &Cancel) -> Result<()> {
    let fault = |e| io_error("read", path, e);
    // The path that was asked for is followed, what is inside is taken as it is.
    let meta =
        if name.is_empty() { std::fs::metadata(path) } else { std::fs::symlink_metadata(path) }.map_err(fault)?;
    let mut field = |kind: u8, content: &[u8]| {
        hasher.update(&[kind]);
        for part in [name, &(meta.permissions().mode() & 0o7777).to_le_bytes(), content] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
    };
    if meta.is_dir() {
        let mut entries =
            std::fs::read_dir(path).map_err(fault)?.collect::<std::io::Result<Vec<_>>>().map_err(fault)?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        field(b'd', &(entries.len() as u64).to_le_bytes());
        for entry in entries {
            add(hasher, &entry.path(), entry.file_name().as_encoded_bytes(), cache, cancel)?;
        }
    } else if meta.is_symlink() {
        field(b'l', std::fs::read_link(path).map_err(fault)?.as_os_str().as_encoded_bytes());
    } else if meta.is_file() {
        field(b'f', known_file(path, cache, cancel)?.as_bytes());
    }
    Ok(())
}
