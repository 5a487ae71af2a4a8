//! Boot commands.

use std::collections::BTreeSet;

use super::source::Source;
use crate::console::boot_command::grammar::{How, Piece, parse};
use crate::console::boot_command::layout::Layout;
use crate::console::boot_command::layouts::TABLES;
use crate::console::boot_command::strokes::{Action, Hands};
use crate::engine::Key;

/// A mistake is in the text, keys come up again unless they are held on purpose, and what is written is read.
pub(super) fn holds(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    typed(&text, data.len());
    let mut source = Source::new(data);
    let mut written = String::new();
    while !source.is_empty() {
        written.push_str(source.pick(PIECES));
    }
    typed(&written, data.len());
    // Without brackets, it is typed as it stands.
    let plain: String = text.chars().filter(|c| !matches!(c, '<' | '\n' | '\r' | '\t')).collect();
    let chars = parse(&plain).unwrap().into_iter().map(|placed| match placed.piece {
        Piece::Char(char, How::Stroke) => char,
        other => panic!("{other:?} in {plain:?}"),
    });
    assert_eq!(chars.collect::<String>(), plain);
}

const PIECES: &[&str] = &[
    "a",
    "Z",
    "<",
    ">",
    "<enter>",
    "<ESC>",
    "<wait>",
    "<wait5>",
    "<wait1m30s>",
    "<wait",
    "<leftShiftOn>",
    "<leftShiftOff>",
    "<rightAltOn>",
    "<rightAltOff>",
    "<aOn>",
    "<aOff>",
    "<AOn>",
    "<f1",
    "On>",
    "Off>",
    "0",
    "^",
    "é",
    "@",
    "\n",
    " ",
    "<<On>",
];

fn typed(text: &str, number: usize) {
    let pieces = match parse(text) {
        Ok(pieces) => pieces,
        Err(mistake) => {
            assert!((1..=text.chars().count()).contains(&mistake.column), "{mistake:?} in {text:?}");
            return;
        }
    };
    assert!(pieces.iter().zip(pieces.iter().skip(1)).all(|(a, b)| a.column < b.column));
    let table = TABLES.get(number % TABLES.len()).expect("a layout");
    let mut hands = Hands::default();
    let Ok(actions) = hands.type_text(text, &Layout::named(table.name).unwrap()) else { return };
    assert_eq!(actions.len(), pieces.len());
    let holds = pieces.iter().any(|placed| matches!(placed.piece, Piece::Char(_, How::Down | How::Up)));
    let mut down: BTreeSet<Key> = BTreeSet::new();
    for (action, placed) in actions.iter().zip(&pieces) {
        let Action::Keys(events) = action else { continue };
        for event in events {
            if event.down {
                down.insert(event.key)
            } else {
                down.remove(&event.key)
            };
        }
        match placed.piece {
            Piece::Key(key, How::Down) => assert!(down.contains(&key)),
            Piece::Key(key, _) => assert!(!down.contains(&key)),
            _ => {}
        }
    }
    // A character that is held may share a modifier with another one, or with the user's own.
    if !holds {
        assert_eq!(down.len(), hands.held().len(), "{:?} after {text:?}", hands.held());
    }
}
