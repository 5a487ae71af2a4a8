//! The values that must not be seen, and the masking of everything that is shown.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use aho_corasick::{AhoCorasick, AhoCorasickKind, Input};

use super::spellings;

/// What stands in place of a secret.
const MASK: &str = "********";

/// The secrets of a run. Every renderer and log writer passes its text through [`Secrets::mask`].
#[derive(Debug, Default)]
pub struct Secrets {
    known: RwLock<Known>,
}

#[derive(Default)]
struct Known {
    secrets: BTreeSet<String>,
    spellings: BTreeSet<String>,
    /// Made of the spellings when it is wanted first: secrets come in groups.
    finder: Option<Arc<AhoCorasick>>,
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Known").field("secrets", &self.secrets.len()).finish_non_exhaustive()
    }
}

impl Secrets {
    /// Adds a value to mask, in all its spellings; false for one that is so short that to mask it would garble all output
    /// without hiding anything.
    pub fn add(&self, value: &str) -> bool {
        if self.known.read().unwrap_or_else(PoisonError::into_inner).secrets.contains(value) {
            return true;
        }
        let spellings = spellings::of(value);
        if spellings.is_empty() {
            return false;
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.secrets.insert(value.to_owned());
        known.spellings.extend(spellings);
        known.finder = None;
        true
    }

    /// Replaces every secret in `text`.
    pub fn mask(&self, text: &str) -> String {
        let mut masked = String::new();
        let mut shown = 0;
        for (start, end) in self.found(text) {
            masked.push_str(text.get(shown..start).unwrap_or_default());
            masked.push_str(MASK);
            shown = end;
        }
        masked.push_str(text.get(shown..).unwrap_or_default());
        masked
    }

    /// Tells whether a secret is in `content`.
    pub fn occurs_in(&self, content: &[u8]) -> bool {
        self.finder().is_some_and(|finder| finder.is_match(content))
    }

    /// Returns where secrets are, those that overlap or touch as one: nothing of either is left.
    fn found(&self, text: &str) -> Vec<(usize, usize)> {
        let mut found: Vec<(usize, usize)> = Vec::new();
        let Some(finder) = self.finder().filter(|finder| finder.is_match(Input::new(text).earliest(true))) else {
            return found;
        };
        // They come in the order of their ends.
        for found_here in finder.find_overlapping_iter(text) {
            let (mut start, end) = (found_here.start(), found_here.end());
            while let Some((before, _)) = found.pop_if(|(_, end)| *end >= start) {
                start = start.min(before);
            }
            found.push((start, end));
        }
        found
    }

    fn finder(&self) -> Option<Arc<AhoCorasick>> {
        {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            if known.finder.is_some() || known.spellings.is_empty() {
                return known.finder.clone();
            }
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.finder.is_none() {
            // Keys are long: the kind that is fastest would take megabytes for each.
            let made = AhoCorasick::builder().kind(Some(AhoCorasickKind::ContiguousNFA)).build(&known.spellings);
            known.finder = made.ok().map(Arc::new);
        }
        known.finder.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    fn secrets(values: &[&str]) -> Secrets {
        let secrets = Secrets::default();
        values.iter().for_each(|value| assert!(secrets.add(value), "{value:?}"));
        secrets
    }

    #[test]
    fn longer_ones_go_whole_and_short_values_stay() {
        let secrets = secrets(&["hunter2", "hunter2-long"]);
        assert!(!secrets.add("abc") && !secrets.add("") && !secrets.add("  a\n b "));
        assert!(secrets.occurs_in(b"\xffhunter2") && !secrets.occurs_in(b"hunter abc") && !secrets.occurs_in(b""));
        assert_eq!(secrets.mask("pw=hunter2-long abc hunter2"), format!("pw={MASK} abc {MASK}"));
        assert_eq!(secrets.mask("nothing"), "nothing");
    }

    #[test]
    fn of_overlapping_ones_nothing_is_left() {
        let secrets = secrets(&["abcdef", "efghij", "cdefgh-x"]);
        assert_eq!(secrets.mask("<abcdefghij>"), format!("<{MASK}>"));
        assert_eq!(secrets.mask("<abcdefgh-x>"), format!("<{MASK}>"));
        assert_eq!(secrets.mask("ä abcdefabcdef ö"), format!("ä {MASK} ö"));
    }

    #[test]
    fn a_key_goes_line_by_line_and_its_frame_stays() {
        let key = "-----BEGIN KEY-----\nAAAAbbbb1111\nCCCCdddd2222\n-----END KEY-----\n";
        let secrets = secrets(&[key]);
        let masked = secrets.mask(&format!("{}\n| CCCCdddd2222", key.replace('\n', "\\n")));
        assert_eq!(masked, format!("-----BEGIN KEY-----\\n{MASK}\\n{MASK}\\n-----END KEY-----\\n\n| {MASK}"));
        let wrapped = STANDARD.encode(key).into_bytes();
        for width in [64, 76] {
            for line in wrapped.chunks(width) {
                let line = String::from_utf8_lossy(line);
                assert_eq!(secrets.mask(&line), MASK, "{line}");
            }
        }
        assert_eq!(secrets.mask(&STANDARD.encode(key)), MASK);
    }

    #[test]
    fn every_spelling_is_found() {
        let secret = "p\"a's$ w\\o/r+d&<ü>%";
        let secrets = secrets(&[secret]);
        let spellings = [
            r#"p"a'\''s$ w\o/r+d&<ü>%"#,
            r#"p"a'"'"'s$ w\o/r+d&<ü>%"#,
            r#"p\"a's\$ w\\o/r+d&<ü>%"#,
            r#"p\"a\'s\$\ w\\o/r+d\&\<ü\>%"#,
            r#"p\"a's$ w\\o\/r+d&<ü>%"#,
            r#"p\"a's$ w\\o/r+d&<\u00fc>%"#,
            r#"p\"a\u0027s$ w\\o/r+d\u0026\u003c\u00fc\u003e%"#,
            "p&quot;a&#39;s$ w\\o/r+d&amp;&lt;ü&gt;%",
            "p%22a%27s%24%20w%5Co%2Fr%2Bd%26%3C%C3%BC%3E%25",
            "p%22a%27s%24+w%5Co%2Fr%2Bd%26%3C%C3%BC%3E%25",
            "p%22a%27s%24%20w%5co%2fr%2bd%26%3c%c3%bc%3e%25",
            "p\"a''s$ w\\o/r+d&<ü>%",
        ];
        let encoded = [
            hex::encode(secret),
            hex::encode_upper(secret),
            STANDARD.encode(secret),
            format!("{:?}", secret.as_bytes()).trim_matches(['[', ']']).to_owned(),
        ];
        for spelling in spellings.iter().copied().chain(encoded.iter().map(String::as_str)) {
            assert_eq!(secrets.mask(&format!("<{spelling}>")), format!("<{MASK}>"), "{spelling}");
            assert!(secrets.occurs_in(spelling.as_bytes()));
        }
    }

    proptest! {
        #[test]
        fn base64_of_anything_around_it_does_not_tell_it(
            before in proptest::collection::vec(any::<u8>(), 0..8),
            secret in "[!-~]{6,40}",
            after in proptest::collection::vec(any::<u8>(), 0..8),
        ) {
            let secrets = secrets(&[&secret]);
            let all = [&before, secret.as_bytes(), &after].concat();
            for text in [STANDARD.encode(&all), URL_SAFE_NO_PAD.encode(&all)] {
                let masked = secrets.mask(&text);
                prop_assert!(masked.contains(MASK));
                // What is left are the neighbours, and at most a part of a character at each side.
                let left = masked.replace(MASK, "").trim_end_matches('=').len();
                prop_assert!(left * 6 <= (before.len() + after.len()) * 8 + 18, "{text} {masked}");
            }
        }

        #[test]
        fn masked_text_has_no_secret(values in proptest::collection::vec("[a-c]{4,6}", 1..4), text in "[a-c ]{0,60}") {
            let secrets = secrets(&values.iter().map(String::as_str).collect::<Vec<_>>());
            let masked = secrets.mask(&text);
            prop_assert!(!secrets.occurs_in(masked.as_bytes()), "{masked}");
        }
    }
}
