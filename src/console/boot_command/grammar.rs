//! Packer's notation of a boot command.
//!
//! Text is typed as it stands. In angle brackets: `<wait>`, `<wait5>`, `<wait1m30s>`; a key's name, `<enter>`; a key's name
//! or any character with `On` or `Off`, which leaves it pressed or releases it, `<leftCtrlOn>`, `<cOff>`. Names are taken in
//! any case. Anything else in angle brackets is text, as in Packer, unless it is so near to a name that it must be a mistake.

use std::time::Duration;

use super::names;
use crate::engine::{Key, Seconds};

/// What is done with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Pressed and released.
    Stroke,
    /// Pressed, and kept so.
    Down,
    Up,
}

/// What a boot command consists of.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    Wait(Duration),
    Key(Key, How),
    Char(char, How),
}

/// A piece, and the column (from 1) at which it begins.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    pub piece: Piece,
    pub column: usize,
}

/// What is wrong with a boot command, and where.
#[derive(Debug, Clone, PartialEq)]
pub struct Mistake {
    pub column: usize,
    pub message: String,
    pub hint: String,
}

/// Takes a text apart.
pub fn parse(text: &str) -> Result<Vec<Placed>, Mistake> {
    let mut pieces = Vec::new();
    let (mut rest, mut column) = (text, 1);
    while let Some(first) = rest.chars().next() {
        let (piece, tail) = match first {
            '<' => bracketed(rest, column)?.unwrap_or((Piece::Char('<', How::Stroke), after(rest, 1))),
            // Lines of a long string end with enter, whatever ends them in the script's file.
            '\r' if rest.starts_with("\r\n") => (Piece::Key(ENTER, How::Stroke), after(rest, 2)),
            '\n' | '\r' => (Piece::Key(ENTER, How::Stroke), after(rest, 1)),
            '\t' => (Piece::Key(TAB, How::Stroke), after(rest, 1)),
            char => (Piece::Char(char, How::Stroke), after(rest, 1)),
        };
        pieces.push(Placed { piece, column });
        column += rest.get(..rest.len() - tail.len()).unwrap_or_default().chars().count();
        rest = tail;
    }
    Ok(pieces)
}

/// How far from a bracket the one that closes it may be.
const LONGEST: usize = 64;
const ENTER: Key = Key(0x28);
const TAB: Key = Key(0x2b);

/// Returns what is left behind the first `count` characters.
fn after(text: &str, count: usize) -> &str {
    let mut chars = text.chars();
    (0..count).for_each(|_| _ = chars.next());
    chars.as_str()
}

/// Reads `<…>` at the start of `text`; none when it is text like any other.
fn bracketed(text: &str, column: usize) -> Result<Option<(Piece, &str)>, Mistake> {
    let behind = after(text, 1);
    // Any character can be held, also `<` and `>`.
    if let Some(char) = behind.chars().next() {
        for (suffix, how) in SUFFIXES {
            let (found, tail) = split_ignoring_case(after(behind, 1), suffix);
            if found && let Some(tail) = tail.strip_prefix('>') {
                return Ok(Some((Piece::Char(char, how), tail)));
            }
        }
    }
    // No name and no duration is longer; a text full of brackets is not searched to its end for each.
    let Some(end) = behind.bytes().take(LONGEST).position(|byte| byte == b'>') else { return Ok(None) };
    let (inside, tail) = (behind.get(..end).unwrap_or_default(), behind.get(end + 1..).unwrap_or_default());
    let (is_wait, length) = split_ignoring_case(inside, "wait");
    if is_wait && let Some(piece) = wait(inside, length, column)? {
        return Ok(Some((piece, tail)));
    }
    let (name, how) = match SUFFIXES.iter().find_map(|(suffix, how)| Some((strip_suffix(inside, suffix)?, *how))) {
        Some((name, how)) if names::key(name).is_some() => (name, how),
        _ => (inside, How::Stroke),
    };
    if let Some((_, key)) = names::key(name) {
        return Ok(Some((Piece::Key(key, how), tail)));
    }
    match suggestion(inside) {
        None => Ok(None),
        Some(meant) => Err(Mistake {
            column,
            message: format!("there is no key `<{inside}>`"),
            hint: format!("did you mean `<{meant}>`? To type it as it stands, begin a new element behind its `<`"),
        }),
    }
}

const SUFFIXES: [(&str, How); 2] = [("on", How::Down), ("off", How::Up)];

/// Reads what is behind `wait`: nothing (a second), seconds, or a duration; none when it is no number at all.
fn wait(inside: &str, length: &str, column: usize) -> Result<Option<Piece>, Mistake> {
    if length.is_empty() {
        return Ok(Some(Piece::Wait(Duration::from_secs(1))));
    }
    if !length.starts_with(|c: char| c.is_ascii_digit() || "+-. ".contains(c)) {
        return Ok(None);
    }
    let begins_well = length.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    match Seconds::parse(length) {
        Some(duration) if begins_well => Ok(Some(Piece::Wait(duration.0))),
        _ => Err(Mistake {
            column,
            message: format!("`<{inside}>`: {length:?} is no duration"),
            hint: "seconds or a duration with its units: `<wait5>`, `<wait1m30s>`, `<wait250ms>`".into(),
        }),
    }
}

/// Returns the name that was meant, with what was behind it.
fn suggestion(inside: &str) -> Option<String> {
    if inside.is_empty() || !inside.chars().all(|c| c.is_ascii_alphanumeric()) {
        return None;
    }
    for (suffix, said) in [("on", "On"), ("off", "Off")] {
        if let Some(meant) = strip_suffix(inside, suffix).and_then(names::meant) {
            return Some(format!("{meant}{said}"));
        }
    }
    names::meant(inside).map(str::to_owned)
}

/// Tells whether `text` begins with `prefix` in any case, and returns what is behind it.
fn split_ignoring_case<'t>(text: &'t str, prefix: &str) -> (bool, &'t str) {
    match text.split_at_checked(prefix.len()) {
        Some((head, tail)) if head.eq_ignore_ascii_case(prefix) => (true, tail),
        _ => (false, text),
    }
}

fn strip_suffix<'t>(text: &'t str, suffix: &str) -> Option<&'t str> {
    let (head, tail) = text.split_at_checked(text.len().checked_sub(suffix.len())?)?;
    tail.eq_ignore_ascii_case(suffix).then_some(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pieces(text: &str) -> Vec<Piece> {
        parse(text).unwrap().into_iter().map(|placed| placed.piece).collect()
    }

    fn typed(text: &str) -> Vec<Piece> {
        text.chars().map(|c| Piece::Char(c, How::Stroke)).collect()
    }

    #[test]
    fn reads_packers_notation() {
        let wait = |millis| Piece::Wait(Duration::from_millis(millis));
        assert_eq!(pieces("<wait>"), [wait(1000)]);
        assert_eq!(
            pieces("<WAIT5><wait10><wait1m30s><wait250ms>"),
            [wait(5000), wait(10_000), wait(90_000), wait(250)]
        );
        assert_eq!(pieces("<wait1.5h>"), [wait(5_400_000)]);
        assert_eq!(
            pieces("<esc>a<Enter>"),
            [Piece::Key(Key(0x29), How::Stroke), Piece::Char('a', How::Stroke), Piece::Key(Key(0x28), How::Stroke)]
        );
        assert_eq!(
            pieces("<leftCtrlOn>c<LEFTCTRLOFF>"),
            [Piece::Key(Key(0xe0), How::Down), Piece::Char('c', How::Stroke), Piece::Key(Key(0xe0), How::Up)]
        );
        assert_eq!(
            pieces("<aOn><aoff><<On><>Off><éON>"),
            [
                Piece::Char('a', How::Down),
                Piece::Char('a', How::Up),
                Piece::Char('<', How::Down),
                Piece::Char('>', How::Up),
                Piece::Char('é', How::Down)
            ]
        );
        assert_eq!(pieces("<f1On><f12>"), [Piece::Key(Key(0x3a), How::Down), Piece::Key(Key(0x45), How::Stroke)]);
        assert_eq!(pieces("a\r\nb\tc\n").len(), 6);
    }

    #[test]
    fn what_is_no_name_is_text() {
        for text in
            ["<", "<>", "a < b > c", "cat <<EOF", "<foo>", "<br>", "<waiting>", "<user name>", "<<<", "<esc", "<html>"]
        {
            assert_eq!(pieces(text), typed(text), "{text}");
        }
        let split = [typed("<"), vec![Piece::Key(Key(0x29), How::Stroke)]].concat();
        assert_eq!(pieces("<<esc>"), split);
    }

    #[test]
    fn a_long_text_takes_no_time() {
        let started = std::time::Instant::now();
        for text in ["a", "<", "<a", "é<wait"] {
            assert!(parse(&text.repeat(50_000)).is_ok(), "{text}");
        }
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    }

    #[test]
    fn near_misses_are_mistakes_with_a_column() {
        let mistake = |text: &str| parse(text).unwrap_err();
        let wrong = mistake("ä<wait5><entr>");
        assert_eq!((wrong.column, wrong.message.as_str()), (9, "there is no key `<entr>`"));
        assert!(wrong.hint.contains("did you mean `<enter>`?"), "{}", wrong.hint);
        assert!(mistake("<ctrlOn>").hint.contains("`<leftCtrlOn>`"));
        assert!(mistake("<wiat>").hint.contains("`<wait>`"));
        assert!(mistake("<escape>").hint.contains("`<esc>`"));
        for text in ["<wait5x>", "<wait-1s>", "<wait 5>", "<wait1m30>"] {
            assert!(mistake(text).message.contains("is no duration"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_columns_grow(text in ".{0,60}") {
            match parse(&text) {
                Ok(pieces) => prop_assert!(pieces.windows(2).all(|pair| pair[0].column < pair[1].column)),
                Err(mistake) => prop_assert!((1..=text.chars().count()).contains(&mistake.column)),
            }
        }

        #[test]
        fn never_panics_on_near_misses(
            parts in prop::collection::vec("(<|>|wait|[0-9.]{1,3}|ms|h|on|OFF|left|Ctrl|enter|f1|é|\\PC)", 0..12)
        ) {
            let _ = parse(&parts.concat());
        }

        #[test]
        fn text_without_brackets_is_typed_as_it_stands(text in "[^<\\r\\n\\t]{0,40}") {
            prop_assert_eq!(pieces(&text), typed(&text));
        }

        #[test]
        fn every_key_can_be_pressed_held_and_released(index in 0usize..30, upper in any::<bool>()) {
            let names = ["bs", "del", "enter", "return", "esc", "tab", "f1", "f9", "f10", "f12", "up", "down", "left", "right",
                "spacebar", "insert", "home", "end", "pageUp", "pageDown", "menu", "leftAlt", "leftCtrl", "leftShift",
                "leftSuper", "rightAlt", "rightCtrl", "rightShift", "rightSuper", "f5"];
            let name = if upper { names[index].to_uppercase() } else { names[index].to_owned() };
            let pieces = pieces(&format!("<{name}><{name}On><{name}oFF>"));
            let key = names::key(&name).unwrap().1;
            prop_assert_eq!(pieces, [Piece::Key(key, How::Stroke), Piece::Key(key, How::Down), Piece::Key(key, How::Up)]);
        }
    }
}
