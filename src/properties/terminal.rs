//! What a guest writes to a terminal, made fit to be shown.

use crate::builder::qemu::tail::Tail;
use crate::console::expect::serial::{Follower, plain_text};
use crate::ui::text;

/// Nothing that moves the cursor survives, pieces fit, and it does not matter where the bytes are cut.
pub(super) fn holds(data: &[u8]) {
    let given = String::from_utf8_lossy(data);
    for line in given.lines() {
        let clean = text::sanitize(line);
        assert!(!clean.chars().any(char::is_control), "{clean:?}");
        assert_eq!(text::sanitize(&clean), clean);
        let columns = 2 + data.len() % 30;
        let pieces = text::wrap(&clean, columns);
        assert!(pieces.iter().all(|piece| text::width(piece) <= columns), "{pieces:?} in {columns}");
        assert_eq!(pieces.concat().replace(' ', ""), clean.replace(' ', ""));
        assert!(text::width(&text::truncate(&clean, columns)) <= columns);
    }
    let whole = plain_text(data);
    assert!(!whole.chars().any(|c| c.is_control() && c != '\n'), "{whole:?}");
    let cut = data.first().map_or(0, |first| usize::from(*first) % data.len());
    let (before, behind) = data.split_at(cut);
    let mut follower = Follower::new(7);
    follower.feed(before);
    follower.feed(behind);
    assert_eq!(follower.text(), whole);
    let mut last = 7;
    for (place, _) in whole.char_indices() {
        let offset = follower.offset_of(place);
        assert!((last..=7 + data.len() as u64).contains(&offset), "{offset} behind {last}");
        last = offset;
    }
    let (mut at_once, mut in_parts) = (Tail::new("x".into()), Tail::new("x".into()));
    let shown = at_once.take(data);
    assert!(!shown.iter().any(|line| line.chars().any(char::is_control)), "{shown:?}");
    in_parts.take(before);
    in_parts.take(behind);
    assert_eq!(at_once.last(1000), in_parts.last(1000));
}
