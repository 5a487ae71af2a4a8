//! Directory records.

use super::bytes::{both16, both32, put};

/// 2000-01-01 00:00:00 UTC, in the 7-byte form of directory records.
const RECORD_TIME: [u8; 7] = [100, 1, 1, 0, 0, 0, 0];

/// The flag of a folder.
pub(super) const FOLDER: u8 = 2;
/// The flag of a record that another one of the same file follows.
pub(super) const MORE: u8 = 0x80;

/// Returns a directory record.
pub(super) fn record(identifier: &[u8], sector: u32, size: u32, flags: u8, extra: &[u8]) -> Vec<u8> {
    let mut r = vec![0u8, 0];
    r.extend_from_slice(&both32(sector));
    r.extend_from_slice(&both32(size));
    r.extend_from_slice(&RECORD_TIME);
    r.extend_from_slice(&[flags, 0, 0]);
    r.extend_from_slice(&both16(1));
    r.push(identifier.len() as u8);
    r.extend_from_slice(identifier);
    if r.len() % 2 == 1 {
        r.push(0);
    }
    r.extend_from_slice(extra);
    if r.len() % 2 == 1 {
        r.push(0);
    }
    let length = r.len() as u8;
    put(&mut r, 0, &[length]);
    r
}
