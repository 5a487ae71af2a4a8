//! The `Range` header (RFC 9110, section 14): which part of a file is asked for.

/// What to send of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// All of it.
    All,
    /// The bytes from the first to the last, both included.
    Part { first: u64, last: u64 },
    /// Nothing of the file is in the range.
    Unsatisfiable,
}

/// Reads the header for a file of `size` bytes. What is not understood is ignored, as the standard has it, and so are
/// several ranges in one request, which no installer sends and which a hostile client makes work of.
pub fn parse(header: &str, size: u64) -> Wanted {
    let Some((unit, ranges)) = header.split_once('=') else { return Wanted::All };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Wanted::All;
    }
    let mut ranges = ranges.split(',').map(str::trim).filter(|range| !range.is_empty());
    let (Some(range), None) = (ranges.next(), ranges.next()) else { return Wanted::All };
    let Some((first, last)) = range.split_once('-') else { return Wanted::All };
    match (number(first.trim_end()), number(last.trim_start())) {
        (Some(Some(first)), Some(last)) if last.is_none_or(|last| last >= first) => {
            if first >= size {
                return Wanted::Unsatisfiable;
            }
            Wanted::Part { first, last: last.unwrap_or(u64::MAX).min(size - 1) }
        }
        // The last so many bytes.
        (Some(None), Some(Some(length))) => {
            if length == 0 || size == 0 {
                return Wanted::Unsatisfiable;
            }
            Wanted::Part { first: size.saturating_sub(length), last: size - 1 }
        }
        _ => Wanted::All,
    }
}

/// Returns a number, or that there is none; nothing when it is something else. One that is too large is the largest.
fn number(text: &str) -> Option<Option<u64>> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some((!text.is_empty()).then(|| text.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn single_ranges_are_understood_and_all_else_is_ignored() {
        let part = |first, last| Wanted::Part { first, last };
        for (header, expected) in [
            ("bytes=0-99", part(0, 9)),
            ("bytes=2-4", part(2, 4)),
            ("Bytes = 2-2 ,", part(2, 2)),
            ("bytes=5-", part(5, 9)),
            ("bytes=-3", part(7, 9)),
            ("bytes=-30", part(0, 9)),
            ("bytes=0-99999999999999999999999999", part(0, 9)),
            ("bytes=10-", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
            ("bytes=99999999999999999999999999-", Wanted::Unsatisfiable),
            ("bytes=4-2", Wanted::All),
            ("bytes=0-1,4-5", Wanted::All),
            ("bytes=-", Wanted::All),
            ("bytes=", Wanted::All),
            ("bytes=+1-2", Wanted::All),
            ("bytes=1", Wanted::All),
            ("lines=1-2", Wanted::All),
            ("", Wanted::All),
        ] {
            assert_eq!(parse(header, 10), expected, "{header}");
        }
        assert_eq!(parse("bytes=0-", 0), Wanted::Unsatisfiable);
        assert_eq!(parse("bytes=-1", 0), Wanted::Unsatisfiable);
    }

    proptest! {
        #[test]
        fn a_part_is_always_inside_the_file(header in "(bytes=)?[0-9,= -]{0,24}|.*", size in any::<u64>()) {
            if let Wanted::Part { first, last } = parse(&header, size) {
                prop_assert!(first <= last && last < size);
            }
        }

        #[test]
        fn a_range_that_was_written_is_read(first in 0u64..1000, length in 1u64..1000, size in 2000u64..3000) {
            let last = first + length - 1;
            prop_assert_eq!(parse(&format!("bytes={first}-{last}"), size), Wanted::Part { first, last });
            let tail = Wanted::Part { first: size - length, last: size - 1 };
            prop_assert_eq!(parse(&format!("bytes=-{length}"), size), tail);
        }
    }
}
