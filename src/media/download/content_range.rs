//! The header that says which part of a file an answer holds.

/// A `Content-Range` (RFC 9110 §14.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentRange {
    /// Bytes `first` to `last`, both included.
    Part { first: u64, last: u64, total: Option<u64> },
    /// The asked range does not exist in a file of that size.
    Unsatisfied { total: u64 },
}

impl ContentRange {
    /// Parses the header's value; nothing if it contradicts itself.
    pub fn parse(text: &str) -> Option<ContentRange> {
        let (unit, range) = text.trim().split_once(' ')?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (range, total) = range.trim().split_once('/')?;
        let total = match total.trim() {
            "*" => None,
            total => Some(number(total)?),
        };
        if range.trim() == "*" {
            return Some(ContentRange::Unsatisfied { total: total? });
        }
        let (first, last) = range.split_once('-')?;
        let (first, last) = (number(first.trim())?, number(last.trim())?);
        let sound = first <= last && last < u64::MAX && total.is_none_or(|total| last < total);
        sound.then_some(ContentRange::Part { first, last, total })
    }
}

/// Reads digits alone: no sign, which Rust's own parser would take.
fn number(text: &str) -> Option<u64> {
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_servers_write() {
        let part = |first, last, total| Some(ContentRange::Part { first, last, total });
        assert_eq!(ContentRange::parse("bytes 5-9/10"), part(5, 9, Some(10)));
        assert_eq!(ContentRange::parse("Bytes 5-9/*"), part(5, 9, None));
        assert_eq!(ContentRange::parse("bytes */10"), Some(ContentRange::Unsatisfied { total: 10 }));
        for bad in [
            "",
            "bytes",
            "bytes 5-9",
            "bytes 9-5/10",
            "bytes 5-10/10",
            "bytes +5-9/10",
            "items 5-9/10",
            "bytes */*",
            "bytes 0-18446744073709551615/*",
        ] {
            assert_eq!(ContentRange::parse(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn a_sound_range_is_read_back(first: u32, length in 1..u64::from(u32::MAX), rest: u32, known: bool) {
            let first = u64::from(first);
            let last = first + length - 1;
            let total = known.then_some(last + 1 + u64::from(rest));
            let text = format!("bytes {first}-{last}/{}", total.map_or("*".to_owned(), |total| total.to_string()));
            prop_assert_eq!(ContentRange::parse(&text), Some(ContentRange::Part { first, last, total }));
        }

        #[test]
        fn whatever_comes_is_sound_or_refused(text in "(bytes )?[0-9*+ -]{0,30}(/[0-9*]{0,22})?|\\PC{0,40}") {
            if let Some(ContentRange::Part { first, last, total }) = ContentRange::parse(&text) {
                prop_assert!(first <= last && total.is_none_or(|total| last < total));
            }
        }
    }
}
