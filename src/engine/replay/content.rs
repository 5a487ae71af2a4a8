//! Digests of files and trees, by content, mode and name; what was read once and has not changed since is not read again.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::engine::BuildCx;
use crate::error::{Result, io_error};
use crate::host::blocking;

/// Smaller files are read each time: that is no slower than to look up what is known of them.
const WORTH_KNOWING: u64 = 1 << 20;

/// What tells that a file is still the one that was read. The time of change of its inode cannot be set back.
fn stamp(meta: &std::fs::Metadata) -> String {
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
    blocking::run(move |_| known_file(&path, &cache)).await
}

/// Returns one digest of all that a file or folder holds: names, kinds, modes, links' targets, content; no times, no owners.
pub async fn tree(path: impl Into<PathBuf>, cx: &BuildCx) -> Result<String> {
    let (path, cache) = (path.into(), cx.settings.cache_dir.join("digests"));
    blocking::run(move |_| {
        let mut hasher = blake3::Hasher::new();
        add(&mut hasher, &path, b"", &cache)?;
        Ok(format!("blake3:{}", hasher.finalize().to_hex()))
    })
    .await
}

fn known_file(path: &Path, cache: &Path) -> Result<String> {
    let fault = |e| io_error("read", path, e);
    let file = std::fs::File::open(path).map_err(fault)?;
    let before = file.metadata().map_err(fault)?;
    if before.len() < WORTH_KNOWING {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(&file).map_err(fault)?;
        return Ok(format!("blake3:{}", hasher.finalize().to_hex()));
    }
    let absolute = std::path::absolute(path).map_err(fault)?;
    let name = blake3::hash(absolute.as_os_str().as_encoded_bytes()).to_hex();
    let entry = cache.join(name.get(..32).unwrap_or(&name));
    let stamp_before = stamp(&before);
    if let Some((known, digest)) =
        std::fs::read_to_string(&entry).ok().as_deref().and_then(|text| text.split_once('\n'))
        && known == stamp_before
        && digest.starts_with("blake3:")
    {
        return Ok(digest.to_owned());
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(&file).map_err(fault)?;
    let digest = format!("blake3:{}", hasher.finalize().to_hex());
    let after = file.metadata().map_err(fault)?;
    // A file that was written a moment ago may be written again within the clock's grain: it is read again next time.
    let settled = after.modified().ok().and_then(|time| time.elapsed().ok()).is_some_and(|age| age.as_millis() > 100);
    if settled && stamp(&after) == stamp_before {
        crate::host::dirs::private(cache)?;
        // To have to read it again is no harm.
        let _ = crate::host::atomic::write(&entry, format!("{stamp_before}\n{digest}").as_bytes());
    }
    Ok(digest)
}

fn add(hasher: &mut blake3::Hasher, path: &Path, name: &[u8], cache: &Path) -> Result<()> {
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
            add(hasher, &entry.path(), entry.file_name().as_encoded_bytes(), cache)?;
        }
    } else if meta.is_symlink() {
        field(b'l', std::fs::read_link(path).map_err(fault)?.as_os_str().as_encoded_bytes());
    } else if meta.is_file() {
        field(b'f', known_file(path, cache)?.as_bytes());
    }
    Ok(())
}
