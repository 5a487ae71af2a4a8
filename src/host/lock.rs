//! Locks on files, between processes and within one; the kernel takes them back whatever the end of their holder is.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};

/// Whoever only looks whether a lock is held has it for an instant: that long, such an instant is waited for.
const INSTANT: Duration = Duration::from_millis(300);
const PAUSE: Duration = Duration::from_millis(3);

/// A lock on a file, held while the value lives.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Takes a lock that others may share, on a file that is there. None when somebody has it alone, or has removed it.
    pub fn shared(path: &Path) -> Option<Lock> {
        let file = File::open(path).ok()?;
        let until = std::time::Instant::now() + INSTANT;
        while flock(&file, FlockOperation::NonBlockingLockShared).is_err() {
            if std::time::Instant::now() > until {
                return None;
            }
            std::thread::park_timeout(PAUSE);
        }
        let lock = Lock { file };
        lock.is_at(path).then_some(lock)
    }

    /// Takes the lock for oneself alone, on a file that is there. None when somebody has it, or has removed it.
    pub fn exclusive(path: &Path) -> Option<Lock> {
        let file = File::open(path).ok()?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
        let lock = Lock { file };
        lock.is_at(path).then_some(lock)
    }

    /// Tells whether somebody holds the file's lock, in this process or in another.
    pub fn is_held(path: &Path) -> bool {
        let Ok(file) = File::open(path) else { return false };
        // What was taken here goes with the handle.
        matches!(flock(&file, FlockOperation::NonBlockingLockExclusive), Err(rustix::io::Errno::WOULDBLOCK))
    }

    /// Notes on the file that it was used now.
    pub fn touch(&self) {
        let _ = self.file.set_modified(SystemTime::now());
    }

    /// A lock on a file that was removed, and perhaps made again, locks nothing.
    fn is_at(&self, path: &Path) -> bool {
        match (self.file.metadata(), std::fs::metadata(path)) {
            (Ok(open), Ok(there)) => (open.dev(), open.ino()) == (there.dev(), there.ino()),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_alone_or_many_together() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        assert!(Lock::shared(&path).is_none() && !Lock::is_held(&path), "there is no file");
        std::fs::write(&path, "").unwrap();
        let (one, two) = (Lock::shared(&path).unwrap(), Lock::shared(&path).unwrap());
        assert!(Lock::is_held(&path) && Lock::exclusive(&path).is_none());
        drop(one);
        assert!(Lock::exclusive(&path).is_none());
        drop(two);
        let alone = Lock::exclusive(&path).unwrap();
        assert!(Lock::shared(&path).is_none() && Lock::exclusive(&path).is_none());
        // Whoever still has the file open when it is removed does not get a lock that counts.
        let late = std::thread::spawn({
            let path = path.clone();
            move || Lock::shared(&path).is_some()
        });
        std::thread::park_timeout(Duration::from_millis(50));
        std::fs::remove_file(&path).unwrap();
        drop(alone);
        assert!(!late.join().unwrap());
    }
}
