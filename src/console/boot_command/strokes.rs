//! From what is to be typed to keys that go down and come up.

use std::collections::BTreeSet;
use std::time::Duration;

use super::grammar::{How, Mistake, Piece, parse};
use super::layout::{ALT_GR, Chord, LEFT_SHIFT, Layout, RIGHT_SHIFT};
use super::names;
use crate::engine::{Key, KeyEvent};

/// What typing consists of.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    Wait(Duration),
    /// The events of one key or character, which belong together.
    Keys(Vec<KeyEvent>),
}

/// Turns text into actions; keys that were left pressed stay so from one text to the next.
#[derive(Debug, Clone, Default)]
pub struct Hands {
    held: BTreeSet<Key>,
}

impl Hands {
    /// Returns what to do to type `text`.
    pub fn type_text(&mut self, text: &str, layout: &Layout) -> Result<Vec<Action>, Mistake> {
        let mut actions = Vec::new();
        for placed in parse(text)? {
            let events = match placed.piece {
                Piece::Wait(duration) => {
                    actions.push(Action::Wait(duration));
                    continue;
                }
                Piece::Key(key, how) => self.key(key, how),
                Piece::Char(char, how) => {
                    let chords = layout.chords(char).ok_or_else(|| cannot_type(char, layout, placed.column))?;
                    self.chords(chords, how).ok_or_else(|| takes_two(char, layout, placed.column))?
                }
            };
            actions.push(Action::Keys(events));
        }
        Ok(actions)
    }

    /// Returns the names of the keys that are still pressed.
    pub fn held(&self) -> Vec<String> {
        let name = |key: &Key| names::name_of(*key).map_or_else(|| format!("key 0x{:02x}", key.0), str::to_owned);
        self.held.iter().map(name).collect()
    }

    fn key(&mut self, key: Key, how: How) -> Vec<KeyEvent> {
        match how {
            How::Stroke => {
                // One that was held comes up with it.
                self.held.remove(&key);
                vec![KeyEvent { key, down: true }, KeyEvent { key, down: false }]
            }
            How::Down => {
                self.held.insert(key);
                vec![KeyEvent { key, down: true }]
            }
            How::Up => {
                self.held.remove(&key);
                vec![KeyEvent { key, down: false }]
            }
        }
    }

    /// Returns the events of a character; none where a key is to be held and it takes more than one.
    fn chords(&mut self, chords: &[Chord], how: How) -> Option<Vec<KeyEvent>> {
        if how != How::Stroke && chords.len() != 1 {
            return None;
        }
        let mut events = Vec::new();
        for chord in chords {
            // A modifier that the user holds is the user's to release.
            let shifted = self.held.contains(&LEFT_SHIFT) || self.held.contains(&RIGHT_SHIFT);
            let modifiers =
                [(chord.shift && !shifted, LEFT_SHIFT), (chord.alt_gr && !self.held.contains(&ALT_GR), ALT_GR)];
            let modifiers = modifiers.into_iter().filter_map(|(needed, key)| needed.then_some(key));
            if how != How::Up {
                events.extend(modifiers.clone().map(|key| KeyEvent { key, down: true }));
                events.push(KeyEvent { key: chord.key, down: true });
            }
            if how != How::Down {
                events.push(KeyEvent { key: chord.key, down: false });
                events.extend(modifiers.rev().map(|key| KeyEvent { key, down: false }));
            }
            match how {
                How::Down => drop(self.held.insert(chord.key)),
                How::Stroke | How::Up => drop(self.held.remove(&chord.key)),
            }
        }
        Some(events)
    }
}

fn cannot_type(char: char, layout: &Layout, column: usize) -> Mistake {
    Mistake {
        column,
        message: format!("the keyboard layout `{}` has no key for {char:?}", layout.name),
        hint: "`keyboard_layout` says which keyboard the guest believes it has".into(),
    }
}

fn takes_two(char: char, layout: &Layout, column: usize) -> Mistake {
    Mistake {
        column,
        message: format!("{char:?} cannot be held: the keyboard layout `{}` takes two keys for it", layout.name),
        hint: "hold one of the keys by its name or its own character".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `+e1 +04 -04 -e1`, waits as seconds.
    fn shown(text: &str, layout: &str) -> String {
        let layout = Layout::named(layout).unwrap();
        let actions = Hands::default().type_text(text, &layout).unwrap();
        let event = |event: &KeyEvent| format!("{}{:02x}", if event.down { '+' } else { '-' }, event.key.0);
        let action = |action: &Action| match action {
            Action::Wait(duration) => format!("{}s", duration.as_secs_f64()),
            Action::Keys(events) => events.iter().map(event).collect::<Vec<_>>().join(" "),
        };
        actions.iter().map(action).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn modifiers_go_down_first_and_come_up_last() {
        assert_eq!(shown("aA<wait2><enter>", "us"), "+04 -04 | +e1 +04 -04 -e1 | 2s | +28 -28");
        assert_eq!(shown("@", "de"), "+e6 +14 -14 -e6");
        assert_eq!(shown("^", "de"), "+35 -35 +2c -2c");
        assert_eq!(shown("ê", "fr"), "+2f -2f +08 -08");
    }

    #[test]
    fn what_is_held_stays_held() {
        assert_eq!(shown("<leftCtrlOn>c<leftCtrlOff>", "us"), "+e0 | +06 -06 | -e0");
        assert_eq!(shown("<leftShiftOn>aB<leftShiftOff>", "us"), "+e1 | +04 -04 | +05 -05 | -e1");
        assert_eq!(shown("<aOn><aOff><AOn><AOff>", "us"), "+04 | -04 | +e1 +04 | -04 -e1");
        let mut hands = Hands::default();
        let us = Layout::named("us").unwrap();
        hands.type_text("<leftCtrlOn><xOn>", &us).unwrap();
        assert_eq!(hands.held(), ["key 0x1b", "leftCtrl"]);
        hands.type_text("<xOff><LeftCtrlOff>", &us).unwrap();
        assert!(hands.held().is_empty());
        hands.type_text("<leftShiftOn><xOn><leftShift>x", &us).unwrap();
        assert!(hands.held().is_empty(), "{:?}", hands.held());
        assert_eq!(shown("<leftShiftOn><leftShift>A", "us"), "+e1 | +e1 -e1 | +e1 +04 -04 -e1");
    }

    #[test]
    fn a_character_without_a_key_is_named() {
        let mistake =
            |text: &str, layout: &str| Hands::default().type_text(text, &Layout::named(layout).unwrap()).unwrap_err();
        let wrong = mistake("<esc>aé", "us");
        assert_eq!((wrong.column, wrong.message.as_str()), (7, "the keyboard layout `us` has no key for 'é'"));
        assert!(mistake("<^On>", "de").message.contains("takes two keys"));
        assert!(mistake("\u{7}", "us").message.contains(r"'\u{7}'"));
    }

    proptest! {
        #[test]
        fn what_goes_down_comes_up(text in "[ -~]{0,40}", layout in 0usize..3) {
            let layout = Layout::named(["us", "de", "fr"][layout]).unwrap();
            let text = text.replace('<', "");
            let mut down = BTreeSet::new();
            for action in Hands::default().type_text(&text, &layout).unwrap() {
                let Action::Keys(events) = action else { continue };
                for event in events {
                    let changed = if event.down { down.insert(event.key) } else { down.remove(&event.key) };
                    prop_assert!(changed);
                }
                prop_assert!(down.is_empty());
            }
        }
    }
}
