//! A serial line's bytes as text, with the way back from a place in the text to its byte.

/// How much unmatched text is kept.
const KEPT: usize = 256 << 10;

/// Returns what a terminal would have been left with of `bytes`, as lines: no escape sequences, no control characters.
pub fn plain_text(bytes: &[u8]) -> String {
    let mut follower = Follower::unbounded(0);
    follower.feed(bytes);
    follower.text
}

/// Turns bytes into text as they come. Sequences may be cut anywhere between two pieces.
#[derive(Debug)]
pub struct Follower {
    text: String,
    /// Places in the text and the offsets of the bytes there, wherever the two do not advance alike.
    places: Vec<(usize, u64)>,
    /// The offset of the next byte.
    offset: u64,
    state: State,
    /// The beginning of a character of several bytes.
    partial: Vec<u8>,
    limit: usize,
}

/// What a terminal is in the middle of (ECMA-48, sections 5.3 to 5.6).
#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Text,
    /// A carriage return, which may be half of a line's end.
    Return,
    Escape,
    /// ESC and an intermediate byte, such as the choice of a character set.
    Intermediate,
    /// A control sequence, ESC [.
    Control,
    /// A string: operating system command and its like.
    String,
    /// ESC inside a string, which ends it with the next byte.
    StringEscape,
}

impl Follower {
    /// Begins at an offset.
    pub fn new(offset: u64) -> Follower {
        Follower { limit: KEPT, ..Follower::unbounded(offset) }
    }

    fn unbounded(offset: u64) -> Follower {
        Follower {
            text: String::new(),
            places: Vec::new(),
            offset,
            state: State::Text,
            partial: Vec::new(),
            limit: usize::MAX,
        }
    }

    /// Returns the text so far.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the offset of the next byte that is to be fed.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the offset of the byte behind `place` in the text.
    pub fn offset_of(&self, place: usize) -> u64 {
        let known = self.places.partition_point(|(text, _)| *text <= place);
        match known.checked_sub(1).and_then(|index| self.places.get(index)) {
            Some((text, offset)) => (offset + (place - text) as u64).min(self.offset),
            None => self.offset,
        }
    }

    /// Takes the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.step(byte);
            self.offset += 1;
        }
        if self.text.len() > self.limit {
            let cut = self.text.len() - self.limit / 2;
            let cut = (cut..self.text.len()).find(|&at| self.text.is_char_boundary(at)).unwrap_or(self.text.len());
            let offset = self.offset_of(cut);
            self.text.drain(..cut);
            self.places.retain_mut(|(text, _)| match text.checked_sub(cut) {
                Some(rest) => {
                    *text = rest;
                    true
                }
                None => false,
            });
            self.places.insert(0, (0, offset));
        }
    }

    fn step(&mut self, byte: u8) {
        if self.state == State::Return && byte != b'\r' {
            // A line that is written over, as progress bars do, is a line.
            self.state = State::Text;
            if byte != b'\n' {
                self.line_end(self.offset);
            }
        }
        self.state = match (self.state, byte) {
            (State::Text | State::Return, _) => return self.character(byte),
            (State::Escape, b'[') => State::Control,
            (State::Escape, b']' | b'P' | b'X' | b'^' | b'_') => State::String,
            (State::Escape | State::Intermediate, 0x20..=0x2f) => State::Intermediate,
            // The cursor goes elsewhere: what follows is no continuation of what was there.
            (State::Control, b'H' | b'f' | b'd' | b'A' | b'B' | b'E' | b'F') => {
                self.line_end(self.offset + 1);
                State::Text
            }
            (State::Control, 0x40..=0x7e) | (State::String, 0x07) => State::Text,
            (State::Control | State::String | State::Escape | State::Intermediate, 0x18 | 0x1a) => State::Text,
            (State::Control, 0x1b) => State::Escape,
            (State::String, 0x1b) => State::StringEscape,
            (State::StringEscape, b'[') => State::Control,
            (State::Control, _) => State::Control,
            (State::String, _) => State::String,
            (State::Escape | State::Intermediate | State::StringEscape, _) => State::Text,
        };
    }

    fn character(&mut self, byte: u8) {
        if byte < 0x80 && !self.partial.is_empty() {
            self.partial.clear();
            self.push('\u{fffd}', self.offset);
        }
        match byte {
            0x1b => self.state = State::Escape,
            b'\r' => self.state = State::Return,
            b'\n' => self.push('\n', self.offset + 1),
            b'\t' => self.push(' ', self.offset + 1),
            0..0x20 | 0x7f => {}
            0x20..0x7f => self.push(char::from(byte), self.offset + 1),
            0x80.. => {
                self.partial.push(byte);
                match std::str::from_utf8(&self.partial) {
                    Ok(text) => {
                        let whole = text.chars().next().filter(|c| !c.is_control());
                        self.partial.clear();
                        if let Some(whole) = whole {
                            self.push(whole, self.offset + 1);
                        }
                    }
                    // The end of a character is still to come.
                    Err(error) if error.error_len().is_none() => {}
                    Err(_) => {
                        let alone = self.partial.len() == 1;
                        self.partial.clear();
                        self.push('\u{fffd}', if alone { self.offset + 1 } else { self.offset });
                        if !alone {
                            self.character(byte);
                        }
                    }
                }
            }
        }
    }

    /// Ends a line unless one has just ended.
    fn line_end(&mut self, offset: u64) {
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.push('\n', offset);
        }
    }

    /// Adds a character that ends before the byte at `offset`.
    fn push(&mut self, c: char, offset: u64) {
        if self.places.is_empty() {
            self.places.push((0, offset - 1));
        }
        self.text.push(c);
        if self.offset_at_end() != Some(offset) {
            self.places.push((self.text.len(), offset));
        }
    }

    fn offset_at_end(&self) -> Option<u64> {
        self.places.last().map(|(text, offset)| offset + (self.text.len() - text) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn terminal_control_is_taken_out() {
        let cases: &[(&str, &str)] = &[
            ("\x1b[0;32mone\x1b[0m\r\r\ntwo\r\n", "one\ntwo\n"),
            ("10%\r20%\rdone\n", "10%\n20%\ndone\n"),
            ("\x1b]0;title\x07a\x1b]0;t\x1b\\b\x1b(Bc\x1bc\x1b=d", "abcd"),
            ("menu\x1b[4;2Hfirst\x1b[5;2Hsecond\x1b[K", "menu\nfirst\nsecond"),
            ("a\tb\x07\x08", "a b"),
            ("caf\u{e9} \u{2500}\u{85}", "caf\u{e9} \u{2500}"),
        ];
        for (bytes, text) in cases {
            assert_eq!(plain_text(bytes.as_bytes()), *text, "{bytes:?}");
        }
        assert_eq!(plain_text(b"a\xffb\xe2\x94c\xe2\xe2\x94\x80"), "a\u{fffd}b\u{fffd}c\u{fffd}\u{2500}");
    }

    #[test]
    fn a_place_in_the_text_leads_back_to_its_byte() {
        let bytes = "\x1b[1mlogin\x1b[0m: \u{e9}x\r\npassword: ".as_bytes();
        let mut follower = Follower::new(100);
        follower.feed(bytes);
        for (until, rest) in [("login: ", "\u{e9}x\r\npassword: "), ("x", "\r\npassword: "), ("password: ", "")] {
            let place = follower.text().find(until).unwrap() + until.len();
            let offset = (follower.offset_of(place) - 100) as usize;
            assert_eq!(std::str::from_utf8(&bytes[offset..]).unwrap(), rest);
        }
    }

    #[test]
    fn old_text_is_let_go() {
        let mut follower = Follower::new(0);
        for n in 0..40_000 {
            follower.feed(format!("line {n:>10}\r\n").as_bytes());
        }
        assert!(follower.text().len() <= KEPT);
        let place = follower.text().find("39999").unwrap() + 5;
        assert_eq!(follower.offset_of(place), follower.offset() - 2);
    }

    proptest! {
        #[test]
        fn pieces_make_the_same_text(bytes in prop::collection::vec(prop_oneof![
            any::<u8>(), Just(0x1b), Just(b'['), Just(b'\r'), Just(b'\n'), Just(b'H'), Just(0xe2), Just(0x94), Just(0x80),
        ], 0..200), cut in any::<prop::sample::Index>()) {
            let whole = plain_text(&bytes);
            let (first, second) = bytes.split_at(cut.index(bytes.len() + 1));
            let mut follower = Follower::new(7);
            follower.feed(first);
            follower.feed(second);
            prop_assert_eq!(follower.text(), &whole);
            prop_assert!(!whole.chars().any(|c| c.is_control() && c != '\n'), "{:?}", whole);
            let mut last = 7;
            for (place, _) in whole.char_indices() {
                let offset = follower.offset_of(place);
                prop_assert!((last..=7 + bytes.len() as u64).contains(&offset));
                last = offset;
            }
        }
    }
}
