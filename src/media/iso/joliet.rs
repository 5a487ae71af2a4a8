//! Joliet: names in UCS-2, for Windows.

use std::collections::HashSet;

/// What readers accept in practice, in units of UCS-2; the standard's own 64 is exceeded by every writer.
const MAX_UNITS: usize = 103;

/// Returns an unused identifier: the real name, without what Joliet does not allow, and shortened where it is too long.
pub(super) fn name(name: &str, folder: bool, taken: &HashSet<Vec<u8>>) -> Vec<u8> {
    let allowed = |c: char| if c.is_control() || "*/:;?\\".contains(c) || c.len_utf16() > 1 { '_' } else { c };
    let clean: String = name.chars().map(allowed).collect();
    let (stem, extension) = match clean.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() && extension.chars().count() < 16 => {
            (stem, format!(".{extension}"))
        }
        _ => (clean.as_str(), String::new()),
    };
    let mut tail = String::new();
    let mut number = 0;
    loop {
        // Every character is one unit now.
        let room = MAX_UNITS.saturating_sub(extension.chars().count() + tail.chars().count());
        let stem: String = stem.chars().take(room).collect();
        let [as_folder, as_file] = ["", ";1"].map(|version| ucs2(&format!("{stem}{tail}{extension}{version}")));
        // Readers show a file without its version: a folder and a file of one name would look the same.
        if !taken.contains(&as_folder) && !taken.contains(&as_file) {
            return if folder { as_folder } else { as_file };
        }
        number += 1;
        tail = format!("~{number}");
    }
}

/// Returns text in big-endian UCS-2.
pub(super) fn ucs2(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}
