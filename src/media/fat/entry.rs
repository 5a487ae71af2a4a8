//! Directory entries.

use super::names::{self, Short};

/// Bytes of an entry.
pub(super) const ENTRY: usize = 32;

const LABEL: u8 = 0x08;
const FOLDER: u8 = 0x10;
const ARCHIVE: u8 = 0x20;
const LONG_NAME: u8 = 0x0f;
/// 2000-01-01, years since 1980 first.
const DATE: u16 = (20 << 9) | (1 << 5) | 1;
/// Units of a name in one entry.
const UNITS: usize = 13;

/// Returns the entry of the volume's label.
pub(super) fn label(label: &Short) -> Vec<u8> {
    entry(label, LABEL, 0, 0)
}

/// Returns the entries of a folder itself and the one above it.
pub(super) fn dots(own: u16, above: u16) -> Vec<u8> {
    [entry(b".          ", FOLDER, own, 0), entry(b"..         ", FOLDER, above, 0)].concat()
}

/// Returns the entries of a folder in another one, those of its long name first.
pub(super) fn folder(name: Option<&str>, short: &Short, cluster: u16) -> Vec<u8> {
    let mut entries = name.map(|name| long_name(name, short)).unwrap_or_default();
    entries.extend(entry(short, FOLDER, cluster, 0));
    entries
}

/// Returns the entries of a file, those of its long name first.
pub(super) fn file(name: Option<&str>, short: &Short, cluster: u16, size: u32) -> Vec<u8> {
    let mut entries = name.map(|name| long_name(name, short)).unwrap_or_default();
    entries.extend(entry(short, ARCHIVE, cluster, size));
    entries
}

/// Returns how many entries a file or folder takes.
pub(super) fn count(name: Option<&str>) -> usize {
    1 + name.map_or(0, |name| name.encode_utf16().count().div_ceil(UNITS))
}

fn entry(short: &Short, attributes: u8, cluster: u16, size: u32) -> Vec<u8> {
    let mut bytes = short.to_vec();
    bytes.extend([attributes, 0, 0, 0, 0]);
    // Made and last read.
    bytes.extend(DATE.to_le_bytes());
    bytes.extend(DATE.to_le_bytes());
    bytes.extend([0, 0, 0, 0]);
    // Last written.
    bytes.extend(DATE.to_le_bytes());
    bytes.extend(cluster.to_le_bytes());
    bytes.extend(size.to_le_bytes());
    bytes
}

/// Returns the entries of a long name, the last part of it first.
fn long_name(name: &str, short: &Short) -> Vec<u8> {
    let units: Vec<u16> = name.encode_utf16().collect();
    let sum = names::checksum(short);
    let parts: Vec<&[u16]> = units.chunks(UNITS).collect();
    let mut bytes = Vec::new();
    for (index, part) in parts.iter().enumerate().rev() {
        let last = if index + 1 == parts.len() { 0x40 } else { 0 };
        // A name that ends before its part does is ended by a zero.
        let padded: Vec<u8> = part
            .iter()
            .copied()
            .chain(std::iter::once(0))
            .chain(std::iter::repeat(0xffff))
            .take(UNITS)
            .flat_map(u16::to_le_bytes)
            .collect();
        let (first, rest) = padded.split_at(10);
        let (second, third) = rest.split_at(12);
        bytes.push((index + 1) as u8 | last);
        bytes.extend(first);
        bytes.extend([LONG_NAME, 0, sum]);
        bytes.extend(second);
        bytes.extend([0, 0]);
        bytes.extend(third);
    }
    bytes
}
