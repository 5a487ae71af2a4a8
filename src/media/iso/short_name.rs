//! Names of the primary tree.

use std::collections::{HashMap, HashSet};

/// The names that a folder has given out.
#[derive(Default)]
pub(super) struct ShortNames {
    taken: HashSet<Vec<u8>>,
    /// The next number to try for names that are the same but for it.
    next: HashMap<Vec<u8>, usize>,
}

impl ShortNames {
    /// Returns an unused upper-case 8.3 name; the real one is in the Rock Ridge entry.
    pub(super) fn of(&mut self, name: &str, folder: bool) -> Vec<u8> {
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
        let first = form(&stem);
        let mut candidate = first.clone();
        let next = self.next.entry(first).or_default();
        // Readers leave out what ends the name of a file without extension, and then it is like a folder's.
        let shown = |name: &[u8]| name.strip_suffix(b".;1").unwrap_or(name).to_vec();
        while self.taken.contains(&shown(&candidate)) {
            let tail = next.to_string();
            *next += 1;
            let head: String = stem.chars().take(8usize.saturating_sub(tail.len())).collect();
            candidate = form(&format!("{head}{tail}"));
        }
        self.taken.insert(shown(&candidate));
        candidate
    }
}
