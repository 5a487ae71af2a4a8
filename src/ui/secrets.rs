//! The values that must not be seen, and the masking of everything that is shown.

use std::sync::{PoisonError, RwLock, RwLockReadGuard};

/// What stands in place of a secret.
const MASK: &str = "********";

/// The secrets of a run. Every renderer and log writer passes its text through [`Secrets::mask`].
#[derive(Debug, Default)]
pub struct Secrets {
    values: RwLock<Vec<String>>,
}

impl Secrets {
    /// Adds a value to mask; very short ones are refused, since masking them would garble all output without hiding
    /// anything.
    pub fn add(&self, value: &str) {
        let mut values = match self.values.write() {
            Ok(values) => values,
            Err(poisoned) => poisoned.into_inner(),
        };
        // A multi-line secret (a private key) reaches the output line by line.
        for part in std::iter::once(value).chain(value.lines()) {
            if part.len() >= 4 && !values.iter().any(|v| v == part) {
                values.push(part.to_owned());
            }
        }
        // Longest first, so that a secret that contains another is masked whole.
        values.sort_by_key(|v| std::cmp::Reverse(v.len()));
    }

    /// Replaces every secret in `text`.
    pub fn mask(&self, text: &str) -> String {
        let values = self.values();
        let mut masked = text.to_owned();
        for value in values.iter() {
            if masked.contains(value.as_str()) {
                masked = masked.replace(value.as_str(), MASK);
            }
        }
        masked
    }

    /// Tells whether a secret is in `content`.
    pub fn occurs_in(&self, content: &[u8]) -> bool {
        self.values().iter().any(|value| memchr::memmem::find(content, value.as_bytes()).is_some())
    }

    fn values(&self) -> RwLockReadGuard<'_, Vec<String>> {
        self.values.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_longest_first_and_leaves_short_values() {
        let secrets = Secrets::default();
        secrets.add("hunter2");
        secrets.add("hunter2-long");
        secrets.add("ab");
        assert!(secrets.occurs_in(b"\xffhunter2") && !secrets.occurs_in(b"hunter ab") && !secrets.occurs_in(b""));
        assert_eq!(secrets.mask("pw=hunter2-long ab hunter2"), format!("pw={MASK} ab {MASK}"));
    }
}
