//! Which part of a file a server says it sends.

use super::source::Source;
use crate::media::download::content_range::ContentRange;

/// A part lies in its file and has a length, and what is written is read.
pub(super) fn holds(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for header in [text.to_string(), format!("bytes {text}")] {
        if let Some(ContentRange::Part { first, last, total }) = ContentRange::parse(&header) {
            assert!(first <= last && total.is_none_or(|total| last < total), "{header:?}");
            assert!((last - first).checked_add(1).is_some(), "{header:?}");
        }
    }
    let mut source = Source::new(data);
    let total = (source.number() >> source.below(64)).max(1);
    let first = source.number() % total;
    let last = first + source.number() % (total - first);
    let part = |total| Some(ContentRange::Part { first, last, total });
    assert_eq!(ContentRange::parse(&format!("bytes {first}-{last}/{total}")), part(Some(total)));
    assert_eq!(ContentRange::parse(&format!("bytes {first}-{last}/*")), part(None));
    assert_eq!(ContentRange::parse(&format!("bytes */{total}")), Some(ContentRange::Unsatisfied { total }));
}
