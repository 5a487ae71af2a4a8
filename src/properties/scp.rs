//! What an `scp` on a machine sends.

use super::source::Source;
use crate::communicator::ssh::scp::message::Message;

/// Names that lead elsewhere are refused, and what is sent is understood.
pub(super) fn holds(data: &[u8]) {
    for line in data.split(|byte| *byte == b'\n') {
        if let Ok(Message::File { mode, name, .. } | Message::Folder { mode, name }) = Message::parse(line) {
            assert!(mode <= 0o7777);
            assert!(!matches!(name.as_str(), "" | "." | "..") && !name.contains(['/', '\0']), "{name:?}");
        }
    }
    let mut source = Source::new(data);
    let name = format!("x{}", source.text(&["a", " ", ".", "é", "\\", "\u{1}"], 8));
    let (mode, size) = (u32::from(source.byte()), source.number() >> 1);
    let messages = [
        Message::Times { modified: size },
        Message::File { mode, size, name: name.clone() },
        Message::Folder { mode, name },
        Message::Leave,
    ];
    for message in messages {
        let line = message.line();
        assert_eq!(Message::parse(line.trim_end_matches('\n').as_bytes()), Ok(message));
    }
}
