//! Which keys make a character.

use std::collections::HashMap;

use super::layouts::{COMPOSED, TABLES, Table};
use crate::engine::Key;
use crate::engine::options::did_you_mean;
use crate::error::{Error, Kind, Result};

pub const LEFT_SHIFT: Key = Key(0xe1);
pub const RIGHT_SHIFT: Key = Key(0xe5);
pub const ALT_GR: Key = Key(0xe6);
const SPACE: Key = Key(0x2c);

/// The usages of the keys in a table's rows.
const ROWS: [&[u8]; 4] = [
    &[0x35, 0x1e, 0x1f, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x2d, 0x2e, 0x89],
    &[0x14, 0x1a, 0x08, 0x15, 0x17, 0x1c, 0x18, 0x0c, 0x12, 0x13, 0x2f, 0x30, 0x31],
    &[0x04, 0x16, 0x07, 0x09, 0x0a, 0x0b, 0x0d, 0x0e, 0x0f, 0x33, 0x34],
    &[0x64, 0x1d, 0x1b, 0x06, 0x19, 0x05, 0x11, 0x10, 0x36, 0x37, 0x38, 0x87],
];

/// A key with its modifiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Chord {
    pub alt_gr: bool,
    pub shift: bool,
    pub key: Key,
}

/// A keyboard layout: what to press for a character.
#[derive(Debug, Clone)]
pub struct Layout {
    pub name: &'static str,
    chords: HashMap<char, Vec<Chord>>,
}

impl Layout {
    /// Finds a layout by its name: `de`.
    pub fn named(name: &str) -> Result<Layout> {
        let wanted = if name == "gb" { "uk" } else { name };
        match TABLES.iter().find(|table| table.name == wanted) {
            Some(table) => Ok(Layout::of(table)),
            None => {
                let names: Vec<&str> = TABLES.iter().map(|table| table.name).collect();
                let error = Error::new(Kind::Option, format!("there is no keyboard layout {name:?}"));
                let all = format!("there are: {}", names.join(", "));
                Err(match did_you_mean(name, &names) {
                    Some(hint) => error.hint(format!("{hint} {all}")),
                    None => error.hint(all),
                })
            }
        }
    }

    /// Returns the keys to press, one after the other, for a character.
    pub fn chords(&self, char: char) -> Option<&[Chord]> {
        self.chords.get(&char).map(Vec::as_slice)
    }

    fn of(table: &Table) -> Layout {
        let space = Chord { key: SPACE, shift: false, alt_gr: false };
        let mut chords: HashMap<char, Vec<Chord>> = HashMap::from([(' ', vec![space])]);
        let mut dead: HashMap<char, Chord> = HashMap::new();
        for (row, usages) in table.rows.iter().zip(ROWS) {
            for (keys, usage) in row.split(' ').zip(usages) {
                for (level, symbol) in symbols(keys).into_iter().enumerate() {
                    let chord = Chord { key: Key(*usage), shift: level == 1, alt_gr: level == 2 };
                    match symbol {
                        Symbol::None => {}
                        Symbol::Char(char) => keep_simplest(chords.entry(char).or_insert_with(|| vec![chord]), chord),
                        Symbol::Dead(char) => {
                            let known = dead.entry(char).or_insert(chord);
                            *known = (*known).min(chord);
                        }
                    }
                }
            }
        }
        // What a key makes by itself is better than what it takes two for.
        for (mark, chord) in &dead {
            chords.entry(*mark).or_insert_with(|| vec![*chord, space]);
        }
        for (mark, pairs) in COMPOSED {
            let Some(chord) = dead.iter().find(|(dead, _)| same_mark(**dead, mark)).map(|(_, chord)| *chord) else {
                continue;
            };
            let letters: Vec<char> = pairs.chars().collect();
            for pair in letters.chunks_exact(2) {
                let &[letter, composed] = pair else { continue };
                if let Some([base]) = chords.get(&letter).map(Vec::as_slice) {
                    let both = vec![chord, *base];
                    chords.entry(composed).or_insert(both);
                }
            }
        }
        Layout { name: table.name, chords }
    }
}

fn keep_simplest(known: &mut Vec<Chord>, chord: Chord) {
    if known.first().is_some_and(|first| chord < *first) {
        *known = vec![chord];
    }
}

/// Tells whether two dead keys make the same mark: where acute and diaeresis are on the quotes' key, they appear as quotes.
fn same_mark(dead: char, mark: char) -> bool {
    dead == mark || matches!((dead, mark), ('\'', '´') | ('"', '¨'))
}

enum Symbol {
    None,
    Char(char),
    Dead(char),
}

fn symbols(keys: &str) -> Vec<Symbol> {
    let mut symbols = Vec::new();
    let mut chars = keys.chars();
    while let Some(char) = chars.next() {
        symbols.push(match char {
            '∅' => Symbol::None,
            '†' => chars.next().map_or(Symbol::None, Symbol::Dead),
            char => Symbol::Char(char),
        });
    }
    // `ß` has no capital of one letter on a key.
    if let [Symbol::Char(letter)] = symbols.as_slice() {
        let mut capital = letter.to_uppercase();
        if let (Some(capital), None) = (capital.next(), capital.next())
            && capital != *letter
        {
            symbols.push(Symbol::Char(capital));
        }
    }
    symbols
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chord(key: u8, modifiers: &str) -> Chord {
        Chord { key: Key(key), shift: modifiers.contains('S'), alt_gr: modifiers.contains('A') }
    }

    #[test]
    fn every_layout_types_all_of_ascii() {
        for table in TABLES {
            let layout = Layout::named(table.name).unwrap();
            for char in ' '..='~' {
                assert!(layout.chords(char).is_some(), "{}: {char:?}", table.name);
            }
            for (row, usages) in table.rows.iter().zip(ROWS) {
                let keys: Vec<&str> = row.split(' ').collect();
                assert!(keys.len() <= usages.len() && !keys.contains(&""), "{}: {row}", table.name);
                assert!(keys.iter().all(|key| symbols(key).len() <= 3), "{}: {row}", table.name);
            }
        }
    }

    #[test]
    fn layouts_are_what_is_printed_on_keyboards() {
        let keys = |layout: &str, char| Layout::named(layout).unwrap().chords(char).unwrap_or_default().to_vec();
        assert_eq!(keys("us", 'a'), [chord(0x04, "")]);
        assert_eq!(keys("us", '|'), [chord(0x31, "S")]);
        assert_eq!(keys("us", '<'), [chord(0x36, "S")]);
        assert_eq!(keys("gb", '"'), [chord(0x1f, "S")]);
        assert_eq!(keys("uk", '#'), [chord(0x31, "")]);
        assert_eq!(keys("de", 'z'), [chord(0x1c, "")]);
        assert_eq!(keys("de", '@'), [chord(0x14, "A")]);
        assert_eq!(keys("de", '|'), [chord(0x64, "A")]);
        assert_eq!(keys("de", '\\'), [chord(0x2d, "A")]);
        assert_eq!(keys("de", '~'), [chord(0x30, "A")]);
        assert_eq!(keys("de", '^'), [chord(0x35, ""), chord(0x2c, "")]);
        assert_eq!(keys("de", 'é'), [chord(0x2e, ""), chord(0x08, "")]);
        assert_eq!(keys("fr", 'A'), [chord(0x14, "S")]);
        assert_eq!(keys("fr", '1'), [chord(0x1e, "S")]);
        assert_eq!(keys("fr", '.'), [chord(0x36, "S")]);
        assert_eq!(keys("fr", '{'), [chord(0x21, "A")]);
        assert_eq!(keys("es", 'ñ'), [chord(0x33, "")]);
        assert_eq!(keys("it", '`'), [chord(0x2d, "A")]);
        assert_eq!(keys("pt", '~'), [chord(0x31, ""), chord(0x2c, "")]);
        assert_eq!(keys("br", '/'), [chord(0x87, "")]);
        assert_eq!(keys("se", '$'), [chord(0x21, "A")]);
        assert_eq!(keys("ch", 'y'), [chord(0x1d, "")]);
        assert_eq!(keys("ch-fr", 'è'), [chord(0x2f, "")]);
        assert_eq!(keys("jp", '_'), [chord(0x87, "S")]);
        assert_eq!(keys("dvorak", 's'), [chord(0x33, "")]);
        assert_eq!(keys("us-intl", '"'), [chord(0x34, "S"), chord(0x2c, "")]);
        assert_eq!(keys("us-intl", 'ö'), [chord(0x13, "A")]);
        assert_eq!(keys("us", 'é'), []);
    }

    #[test]
    fn an_unknown_layout_names_the_known_ones() {
        let error = Layout::named("gr").unwrap_err();
        assert!(error.hints()[0].contains("us, us-intl, uk"), "{:?}", error.hints());
        assert!(Layout::named("dvorack").unwrap_err().hints()[0].starts_with("did you mean `dvorak`?"));
    }
}
