//! Files and folders that appear whole, by rename, or not at all.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::owner;
use crate::error::{Error, Kind, Result, io_error};

/// What is between the name of a file and the run in the name that it has until it is whole.
const INFIX: &str = ".rimg-";
/// Stands for the run in the names of what no run makes.
pub const NOBODY: &str = "000000000000";
/// How many random characters such a name ends with.
const UNIQUE: usize = 8;
/// What file systems allow, in bytes.
const LONGEST_NAME: usize = 255;

/// A place beside `target` to write to, removed on drop unless it was committed.
///
/// It is in the same folder, so that the rename cannot cross file systems. Its name says which run it belongs to, and the run
/// has written down that it makes files in the folder: so it is found after a crash.
pub struct Pending {
    target: PathBuf,
    path: PathBuf,
    done: bool,
}

impl Pending {
    /// Picks an unused name `.NAME.rimg-RUN-XXXXXXXX` beside `target` and creates the parent folders.
    pub fn beside(target: &Path) -> Result<Pending> {
        let target = std::path::absolute(target).map_err(|e| io_error("resolve", target, e))?;
        let name = target
            .file_name()
            .ok_or_else(|| Error::new(Kind::Io, format!("{} does not name a file", target.display())))?;
        let parent = target.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(parent).map_err(|e| io_error("create folder", parent, e))?;
        let owner = owner::current();
        if let Some(owner) = &owner {
            owner.before_file(parent)?;
        }
        let id = uuid::Uuid::new_v4().simple().to_string();
        let owner = owner.as_ref().map_or(NOBODY, |owner| owner.id());
        let mark = format!("{INFIX}{owner}-{}", id.get(..UNIQUE).unwrap_or(&id));
        let mut hidden = OsString::from(".");
        hidden.push(shortened(name, LONGEST_NAME - 1 - mark.len()));
        hidden.push(mark);
        Ok(Pending { path: parent.join(hidden), target, done: false })
    }

    /// Returns where to write; nothing is there yet.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path it will have.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Syncs what was written and renames it to the target, replacing a file (not a folder) that is there.
    pub fn commit(self) -> Result<PathBuf> {
        // A link has nothing of its own to sync.
        if !self.path.is_symlink() {
            let file = std::fs::File::open(&self.path).map_err(|e| io_error("open", &self.path, e))?;
            file.sync_all().map_err(|e| io_error("sync", &self.path, e))?;
        }
        let parent = self.target.parent().map(Path::to_owned);
        let target = self.commit_unsynced()?;
        if let Some(parent) = parent {
            // The rename itself must survive a crash too; a file system that cannot sync folders still has the rename.
            let _ = std::fs::File::open(parent).and_then(|dir| dir.sync_all());
        }
        Ok(target)
    }

    /// The same for what may be lost in a power failure.
    pub fn commit_unsynced(mut self) -> Result<PathBuf> {
        std::fs::rename(&self.path, &self.target).map_err(|e| io_error("rename into place", &self.target, e))?;
        self.done = true;
        Ok(self.target.clone())
    }

    /// The same as [`Pending::commit`], replacing a folder, too: what is there is put aside first and removed afterwards, so
    /// that at every moment either the old or the new one is whole.
    pub fn replace(self) -> Result<PathBuf> {
        let target = self.target.clone();
        let aside = Pending::beside(&target)?;
        if let Some(owner) = owner::current() {
            owner.before_aside(aside.path(), &target)?;
        }
        std::fs::rename(&target, aside.path()).map_err(|e| io_error("move aside", &target, e))?;
        self.commit().inspect_err(|_| {
            let _ = std::fs::rename(aside.path(), &target);
        })
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.done {
            remove(&self.path);
        }
    }
}

/// Returns the run whose half-made file has that name; none when no file of this kind has.
pub fn owner_of(name: &OsStr) -> Option<String> {
    let name = name.to_string_lossy();
    let (_, mark) = name.strip_prefix('.')?.rsplit_once(INFIX)?;
    let (owner, unique) = mark.split_once('-')?;
    (owner.len() == NOBODY.len() && unique.len() == UNIQUE).then(|| owner.to_owned())
}

/// Returns a name, or its beginning where it is too long.
fn shortened(name: &OsStr, most: usize) -> OsString {
    if name.len() <= most {
        return name.to_owned();
    }
    let text = name.to_string_lossy();
    let end = (0..=most).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default().into()
}

/// Removes a file or a folder with all it holds; nothing there is fine.
pub fn remove(path: &Path) {
    if std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir()) {
        let _ = std::fs::remove_dir_all(path);
    } else {
        let _ = std::fs::remove_file(path);
    }
}

/// Writes `bytes` to `target`, whole or not at all.
pub fn write(target: &Path, bytes: &[u8]) -> Result<PathBuf> {
    let pending = Pending::beside(target)?;
    std::fs::write(pending.path(), bytes).map_err(|e| io_error("write", pending.path(), e))?;
    pending.commit()
}

/// Refuses to go on when `target` exists and may not be overwritten.
pub fn refuse_existing(target: &Path, force: bool) -> Result<()> {
    if !force && std::fs::symlink_metadata(target).is_ok() {
        return Err(Error::new(Kind::Exists, format!("{} exists already", target.display()))
            .hint("remove it, choose another output, or run with --force to replace it"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_pending_file_leaves_nothing_and_a_committed_one_replaces() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("sub/out.txt");
        let pending = Pending::beside(&target).unwrap();
        std::fs::write(pending.path(), "half").unwrap();
        drop(pending);
        assert_eq!(std::fs::read_dir(dir.path().join("sub")).unwrap().count(), 0);
        write(&target, b"one").unwrap();
        write(&target, b"two").unwrap();
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "two");
        let pending = Pending::beside(&dir.path().join("ä".repeat(127))).unwrap();
        std::fs::write(pending.path(), "half").unwrap();
        assert_eq!(owner_of(pending.path().file_name().unwrap()), Some(NOBODY.to_owned()));
        for other in [".out.rimg-12345678", "out.rimg-000000000000-12345678", ".out", ".x.rimg-000000000000-1"] {
            assert_eq!(owner_of(OsStr::new(other)), None);
        }
        assert!(refuse_existing(&target, false).is_err());
        assert!(refuse_existing(&target, true).is_ok());
    }
}
