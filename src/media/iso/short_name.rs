//! Names of the primary tree.

/// Returns an unused upper-case 8.3 name for the primary tree; the real one is in the Rock Ridge entry.
pub(super) fn short_name(name: &str, folder: bool, taken: &[Vec<u8>]) -> Vec<u8> {
    let clean = |text: &str, width: usize| -> String {
        let fit = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        text.chars().map(fit).take(width).collect()
    };
    let (stem, extension) = match name.rsplit_once('.') {
        Some((stem, extension)) if !folder && !stem.is_empty() => (stem, extension),
        _ => (name, ""),
    };
    let (stem, extension) = (clean(stem, 8), clean(extension, 3));
    let form = |stem: &str| match folder {
        true => stem.as_bytes().to_vec(),
        false => format!("{stem}.{extension};1").into_bytes(),
    };
    let mut candidate = form(&stem);
    let mut number = 0;
    while taken.contains(&candidate) {
        let tail = number.to_string();
        let head: String = stem.chars().take(8usize.saturating_sub(tail.len())).collect();
        candidate = form(&format!("{head}{tail}"));
        number += 1;
    }
    candidate
}
