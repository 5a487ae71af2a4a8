//! What is mounted on this host: `/proc/self/mountinfo`, see proc_pid_mountinfo(5).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::error::{Result, io_error};

const TABLE: &str = "/proc/self/mountinfo";

/// Returns where something is mounted at a path and in it, what was mounted last first.
pub fn at(path: &Path) -> Result<Vec<PathBuf>> {
    let table = std::fs::read(TABLE).map_err(|e| io_error("read", Path::new(TABLE), e))?;
    Ok(points(&table).filter(|point| point.starts_with(path)).rev().collect())
}

/// Returns the fifth field of each line: the mount point.
fn points(table: &[u8]) -> impl DoubleEndedIterator<Item = PathBuf> {
    let lines = table.split(|byte| *byte == b'\n');
    lines
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4))
        .map(|field| OsString::from_vec(plain(field)).into())
}

/// Returns a field as it was: spaces, tabs, line ends and backslashes stand there as `\040` and the like.
fn plain(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((byte, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| *byte == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(escaped) => {
                plain.push(escaped);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                plain.push(*byte);
                rest = after;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_with_what_is_special_in_them() {
        let table =
            b"21 1 254:1 / / rw - ext4 /dev/vda rw\n22 21 0:5 / /mnt/a\\040b\\134c rw shared:3 - proc proc rw\n";
        let found: Vec<_> = points(table).collect();
        assert_eq!(found, [Path::new("/"), Path::new("/mnt/a b\\c")]);
        assert_eq!(plain(b"\\9\\04"), b"\\9\\04");
    }

    #[test]
    fn what_is_mounted_below_comes_last_first() {
        let all = at(Path::new("/")).unwrap();
        assert!(all.contains(&PathBuf::from("/")) && all.contains(&PathBuf::from("/proc")), "{all:?}");
        assert!(at(Path::new("/proc")).unwrap().ends_with(&["/proc".into()]));
        assert!(at(Path::new("/no/such")).unwrap().is_empty());
    }
}
