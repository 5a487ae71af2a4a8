//! What clients ask an HTTP server for.

use super::source::Source;
use crate::media::http_server::range::{Wanted, parse};
use crate::media::http_server::request::names;

/// A part lies in its file, a path below its folder; a range or a path that was written is read.
pub(super) fn holds(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut source = Source::new(data);
    let size = source.number() >> source.below(64);
    for header in [text.to_string(), format!("bytes={text}")] {
        if let Wanted::Part { first, last } = parse(&header, size) {
            assert!(first <= last && last < size, "{first}-{last} of {size}");
        }
    }
    for name in names(&text).unwrap_or_default() {
        assert!(name != ".." && name != "." && !name.contains(['/', '\0']), "{name:?} of {text:?}");
    }
    if let (Some(first), Some(length)) = (source.number().checked_rem(size), size.checked_sub(1)) {
        let last = first + source.number() % (size - first);
        assert_eq!(parse(&format!("bytes={first}-{last}"), size), Wanted::Part { first, last });
        assert_eq!(parse(&format!("bytes={first}-"), size), Wanted::Part { first, last: length });
        let tail = Wanted::Part { first, last: size - 1 };
        assert_eq!(parse(&format!("bytes=-{}", size - first), size), tail);
    }
    let path: Vec<String> =
        (0..source.below(5)).map(|_| source.text(&["a", ".", "%", " ", "é", "?", "#", "\\"], 5)).collect();
    if path.iter().all(|name| !matches!(name.as_str(), "" | "." | "..")) && !path.is_empty() {
        let written: Vec<String> =
            path.iter().map(|name| name.bytes().map(|b| format!("%{b:02x}")).collect()).collect();
        assert_eq!(names(&format!("/{}", written.join("/"))), Some(path));
    }
}
