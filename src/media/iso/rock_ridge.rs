//! Rock Ridge: the real names and modes, in the records of the primary tree.

use super::bytes::both32;

/// Says, in the root's own record, that such entries are used (SUSP's `SP`).
pub(super) const FIRST: &[u8] = b"SP\x07\x01\xbe\xef\x00";
/// Names the extension, in the root's own record (SUSP's `ER`).
pub(super) const EXTENSION: &[u8] = b"ER\x12\x01\x0a\x00\x00\x01RRIP_1991A";

/// The mode of a folder.
pub(super) const FOLDER: u32 = 0o040_755;

/// Returns the mode of a file.
pub(super) fn file_mode(executable: bool) -> u32 {
    if executable { 0o100_755 } else { 0o100_644 }
}

/// Returns the entry of mode, links, owner and group.
pub(super) fn posix(mode: u32, links: u32) -> Vec<u8> {
    let mut px = b"PX\x24\x01".to_vec();
    for value in [mode, links, 0, 0] {
        px.extend_from_slice(&both32(value));
    }
    px
}

/// Returns the entry of the real name; names are short enough for one.
pub(super) fn name(name: &str) -> Vec<u8> {
    let mut nm = vec![b'N', b'M', 5 + name.len() as u8, 1, 0];
    nm.extend_from_slice(name.as_bytes());
    nm
}
