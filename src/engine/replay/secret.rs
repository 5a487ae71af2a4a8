//! The key of this user on this host: what a secret leaves in keys and records is worth nothing without it.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::error::{Error, Kind, Result, io_error};
use crate::host::{atomic, dirs};

/// Returns the key kept in `replay.key` in this folder, made now if there is none yet. All that ask at the same time get
/// the same.
pub fn local_key(state_dir: &Path) -> Result<[u8; 32]> {
    let path = state_dir.join("replay.key");
    match std::fs::File::open(&path) {
        Ok(file) => read(&path, file),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            dirs::private(state_dir)?;
            make(&path)?;
            read(&path, std::fs::File::open(&path).map_err(|e| io_error("open", &path, e))?)
        }
        Err(error) => Err(io_error("open", &path, error)),
    }
}

fn read(path: &Path, mut file: std::fs::File) -> Result<[u8; 32]> {
    let fault = |e| io_error("read", path, e);
    let meta = file.metadata().map_err(fault)?;
    if meta.mode() & 0o077 != 0 {
        let only_mine = std::fs::Permissions::from_mode(0o600);
        file.set_permissions(only_mine).map_err(|e| io_error("make private", path, e))?;
    }
    let mut key = [0; 32];
    let wrong = || {
        Error::new(Kind::Io, format!("{} is no key: it has {} bytes in place of 32", path.display(), meta.len()))
            .hint("remove it: a new one is made, and operations that depend on secrets are done anew")
    };
    if meta.len() != key.len() as u64 {
        return Err(wrong());
    }
    file.read_exact(&mut key).map_err(fault)?;
    Ok(key)
}

/// Makes a key; one that somebody else has made meanwhile stays.
fn make(path: &Path) -> Result<()> {
    let pending = atomic::Pending::beside(path)?;
    let fault = |e| io_error("write", pending.path(), e);
    let mut file =
        std::fs::File::options().write(true).create_new(true).mode(0o600).open(pending.path()).map_err(fault)?;
    // Each has 122 bits that nobody can guess.
    let random: Vec<u8> = (0..4).flat_map(|_| uuid::Uuid::new_v4().into_bytes()).collect();
    file.write_all(blake3::hash(&random).as_bytes()).and_then(|()| file.sync_all()).map_err(fault)?;
    // Unlike a rename, a link does not replace.
    match std::fs::hard_link(pending.path(), path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        linked => linked.map_err(|e| io_error("make", path, e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_get_the_same_key_and_nobody_else_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let state = state.clone();
                std::thread::spawn(move || local_key(&state).unwrap())
            })
            .collect();
        let keys: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(keys.iter().all(|key| key == &keys[0]) && keys[0] != [0; 32]);
        assert_eq!(std::fs::read_dir(&state).unwrap().count(), 1);
        let path = state.join("replay.key");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(local_key(&state).unwrap(), keys[0]);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_ne!(local_key(&dir.path().join("other")).unwrap(), keys[0]);
    }

    #[test]
    fn what_is_no_key_is_not_taken_for_one() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("replay.key"), "short").unwrap();
        let error = local_key(dir.path()).unwrap_err();
        assert!(error.message().contains("replay.key is no key: it has 5 bytes"), "{error}");
    }
}
