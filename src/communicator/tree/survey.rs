//! What a folder holds, before it is sent.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::{Result, io_error};

/// What a folder holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// Bytes of file content, holes included.
    pub bytes: u64,
    /// Bytes of it that are holes.
    pub holes: u64,
    /// Sockets, pipes and devices, which mean nothing elsewhere; relative to the folder.
    pub special: Vec<PathBuf>,
}

/// Looks through a folder. Blocking.
pub fn survey(root: &Path) -> Result<Survey> {
    let mut found = Survey::default();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let failed = |e| io_error("read the folder", &folder, e);
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let meta = std::fs::symlink_metadata(&path).map_err(|e| io_error("read", &path, e))?;
            if meta.is_dir() {
                folders.push(path);
            } else if meta.is_file() {
                found.bytes += meta.len();
                found.holes += meta.len().saturating_sub(meta.blocks().saturating_mul(512));
            } else if !meta.is_symlink() {
                found.special.push(path.strip_prefix(root).unwrap_or(&path).to_owned());
            }
        }
    }
    found.special.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_content_and_names_what_is_no_file() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        std::fs::write(dir.path().join("sub/f"), [1; 10]).unwrap();
        std::os::unix::fs::symlink("/no/where", dir.path().join("link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("sub/socket")).unwrap();
        let found = survey(dir.path()).unwrap();
        assert_eq!((found.bytes, found.special), (10, vec![PathBuf::from("sub/socket")]));
    }
}
