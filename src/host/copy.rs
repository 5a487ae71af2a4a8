//! Copies of files: what the file system can share is shared, holes stay holes.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::blocking::Cancel;
use super::sparse;
use crate::error::{Result, io_error};

/// How much is copied between two looks at whether anybody still waits.
const PIECE: u64 = 8 << 20;

/// Makes `to`, which is not there yet, share the content of `from` until one of them changes; tells whether the file system
/// can do that. Only this user can read it.
pub fn reflink(from: &Path, to: &Path) -> bool {
    let (Ok(source), Ok(target)) = (File::open(from), private(to)) else { return false };
    let done = rustix::fs::ioctl_ficlone(&target, &source).is_ok();
    if !done {
        super::atomic::remove(to);
    }
    done
}

fn private(path: &Path) -> std::io::Result<File> {
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

/// Makes `to`, which is not there yet and which only this user can read, a copy of `from`: a reflink where the file system
/// has them, else byte for byte.
pub fn file(from: &Path, to: &Path, cancel: &Cancel) -> Result<()> {
    let source = File::open(from).map_err(|e| io_error("open", from, e))?;
    let target = private(to).map_err(|e| io_error("create", to, e))?;
    if rustix::fs::ioctl_ficlone(&target, &source).is_ok() {
        return Ok(());
    }
    let size = source.metadata().map_err(|e| io_error("read", from, e))?.len();
    let (mut reader, mut writer) = (&source, &target);
    for extent in sparse::extents(&source, size) {
        let failed = |e| io_error("read", from, e);
        reader.seek(SeekFrom::Start(extent.offset)).map_err(failed)?;
        writer.seek(SeekFrom::Start(extent.offset)).map_err(|e| io_error("write", to, e))?;
        let mut left = extent.length;
        while left > 0 {
            cancel.check()?;
            // Between two files this is done by the kernel.
            let copied = std::io::copy(&mut reader.take(left.min(PIECE)), &mut writer);
            match copied.map_err(|e| io_error("write", to, e))? {
                // It became shorter meanwhile.
                0 => break,
                count => left -= count,
            }
        }
    }
    target.set_len(size).map_err(|e| io_error("write", to, e))?;
    writer.flush().map_err(|e| io_error("write", to, e))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt, MetadataExt};

    use super::*;

    #[test]
    fn the_same_bytes_and_the_same_holes() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        let file = File::create_new(&from).unwrap();
        file.set_len(64 << 20).unwrap();
        file.write_all_at(&[7; 300_000], 20 << 20).unwrap();
        file.write_all_at(b"end", 50 << 20).unwrap();
        super::file(&from, &to, &Cancel::default()).unwrap();
        assert!(std::fs::read(&from).unwrap() == std::fs::read(&to).unwrap());
        let meta = std::fs::metadata(&to).unwrap();
        assert_eq!((meta.len(), meta.mode() & 0o777), (64 << 20, 0o600));
        assert!(meta.blocks() * 512 < 1 << 20, "{} blocks", meta.blocks());
        assert!(super::file(&from, &to, &Cancel::default()).is_err(), "it is there");
        std::fs::write(&from, "").unwrap();
        super::file(&from, &dir.path().join("empty"), &Cancel::default()).unwrap();
        assert_eq!(std::fs::read(dir.path().join("empty")).unwrap(), b"");
    }
}
