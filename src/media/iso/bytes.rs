//! Sectors, and numbers in both byte orders.

/// Bytes of a sector.
pub(super) const SECTOR: usize = 2048;

/// Returns a number in both byte orders.
pub(super) fn both16(n: u16) -> Vec<u8> {
    [n.to_le_bytes(), n.to_be_bytes()].concat()
}

/// Returns a number in both byte orders.
pub(super) fn both32(n: u32) -> Vec<u8> {
    [n.to_le_bytes(), n.to_be_bytes()].concat()
}

/// Puts bytes at a place that is inside.
pub(super) fn put(into: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = into.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

/// Fills up to whole sectors, at least one.
pub(super) fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    let sectors = bytes.len().div_ceil(SECTOR).max(1);
    bytes.resize(sectors * SECTOR, 0);
    bytes
}
