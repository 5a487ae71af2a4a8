//! Joliet: names in UCS-2.

/// Returns a file's or folder's identifier.
pub(super) fn name(name: &str, folder: bool) -> Vec<u8> {
    ucs2(&if folder { name.to_owned() } else { format!("{name};1") })
}

/// Returns text in big-endian UCS-2.
pub(super) fn ucs2(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}
