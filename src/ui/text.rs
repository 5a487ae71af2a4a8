//! Text of unknown origin made fit for a terminal: no control sequences, known width.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Returns one line of a guest's output as it may be shown: escape sequences removed, what a carriage return
/// overwrote left out, tabs expanded, other control characters made visible.
pub fn sanitize(line: &str) -> String {
    // A progress bar redraws its line: its last state is what a person would see.
    let line = line.trim_end_matches(['\r', '\n']);
    let line = line.rsplit('\r').find(|part| !part.is_empty()).unwrap_or_default();
    if line.chars().all(|c| !needs_care(c)) {
        return line.to_owned();
    }
    let mut clean = String::with_capacity(line.len());
    let mut column = 0;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\x1b' | '\u{9b}' | '\u{9d}' | '\u{90}' => skip_escape(c, &mut chars),
            '\t' => {
                let spaces = 8 - column % 8;
                clean.extend(std::iter::repeat_n(' ', spaces));
                column += spaces;
            }
            '\x08' => {
                if let Some(last) = clean.pop() {
                    column = column.saturating_sub(last.width().unwrap_or(0));
                }
            }
            // Ringing the bell is no text.
            '\x07' => {}
            c if needs_care(c) => {
                clean.push('\u{fffd}');
                column += 1;
            }
            c => {
                clean.push(c);
                column += c.width().unwrap_or(0);
            }
        }
    }
    clean
}

/// Writes JSON with what a terminal might act upon escaped; it means the same.
pub fn escape_json(json: String) -> String {
    if !json.chars().any(needs_care) {
        return json;
    }
    let mut escaped = String::with_capacity(json.len() + 32);
    for c in json.chars() {
        match needs_care(c) {
            // All of these are in the basic plane, and none can be outside of a string of compact JSON.
            true => escaped.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => escaped.push(c),
        }
    }
    escaped
}

/// Control characters, and those that reorder the text around them.
fn needs_care(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

/// Skips what belongs to an escape sequence after its introducer.
fn skip_escape(introducer: char, chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    let kind = match introducer {
        '\u{9b}' => Some('['),
        '\u{9d}' => Some(']'),
        '\u{90}' => Some('P'),
        _ => chars.next(),
    };
    match kind {
        // CSI: parameters, then one final byte.
        Some('[') => while chars.next().is_some_and(|c| !('\x40'..='\x7e').contains(&c)) {},
        // OSC, DCS, SOS, PM, APC: a string up to BEL or ST.
        Some(']' | 'P' | 'X' | '^' | '_') => {
            while let Some(c) = chars.next() {
                match c {
                    '\x07' | '\u{9c}' => break,
                    '\x1b' => {
                        chars.next_if_eq(&'\\');
                        break;
                    }
                    _ => {}
                }
            }
        }
        // Charset selection and the like: one more character.
        Some('(' | ')' | '*' | '+' | '#' | '%' | ' ') => {
            chars.next();
        }
        _ => {}
    }
}

/// Returns how many columns the text takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// Returns the text with spaces after it up to `columns`.
pub fn pad(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

/// Returns the text cut to `columns`, with an ellipsis where something is missing.
pub fn truncate(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut cut = String::new();
    let mut used = 0;
    for c in text.chars() {
        let next = c.width().unwrap_or(0);
        if used + next + 1 > columns {
            break;
        }
        used += next;
        cut.push(c);
    }
    if columns > 0 {
        cut.truncate(cut.trim_end().len());
        cut.push('…');
    }
    cut
}

/// Splits the text into pieces of at most `columns`, at spaces where there are some in the second half of a piece.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    if columns == 0 || width(text) <= columns {
        return vec![text.to_owned()];
    }
    let mut pieces = Vec::new();
    let mut piece = String::new();
    let mut used = 0;
    for c in text.chars() {
        let next = c.width().unwrap_or(0);
        if used + next > columns && !piece.is_empty() {
            let rest = match piece.rfind(' ') {
                Some(space) if space > piece.len() / 2 => {
                    let rest = piece.split_off(space + 1);
                    piece.pop();
                    rest
                }
                _ => String::new(),
            };
            used = width(&rest);
            pieces.push(std::mem::replace(&mut piece, rest));
        }
        used += next;
        piece.push(c);
    }
    pieces.push(piece);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn control_sequences_are_neutralised() {
        assert_eq!(sanitize("\x1b[31mred\x1b[0m \x1b[2J\x1b[1;1Hdone"), "red done");
        assert_eq!(sanitize("\x1b]0;title\x07a\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\"), "alink");
        assert_eq!(sanitize("\u{9b}31mred\u{90}q\u{9c}x"), "redx");
        assert_eq!(sanitize("\x1bPq#0\x1b\\x\x1b(0y\x1b"), "xy");
        assert_eq!(sanitize("10%\r20%\r100%\r"), "100%");
        assert_eq!(sanitize("a\tb\x07"), "a       b");
        assert_eq!(sanitize("abc\x08\x08d\0"), "ad\u{fffd}");
        assert_eq!(sanitize("safe\u{202e}txt"), "safe\u{fffd}txt");
        assert_eq!(escape_json("[\"a\u{9b}\u{202e}é\u{7f}\"]".into()), r#"["a\u009b\u202eé\u007f"]"#);
        assert_eq!(sanitize("plain text, ümlaut, 日本\n"), "plain text, ümlaut, 日本");
    }

    #[test]
    fn wide_characters_count_twice() {
        assert_eq!(pad("日本", 6), "日本  ");
        assert_eq!(truncate("日本語", 5), "日本…");
        assert_eq!(truncate("abc", 3), "abc");
    }

    #[test]
    fn wraps_at_spaces_and_inside_long_words() {
        assert_eq!(wrap("one two three", 9), ["one two", "three"]);
        assert_eq!(wrap("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("short", 80), ["short"]);
    }

    proptest! {
        #[test]
        fn nothing_that_moves_the_cursor_survives(line in any::<String>()) {
            prop_assert!(sanitize(&line).chars().all(|c| !needs_care(c)));
        }

        #[test]
        fn pieces_fit_and_lose_only_spaces(text in "[a-z日 ]{0,60}", columns in 2usize..20) {
            let pieces = wrap(&text, columns);
            prop_assert!(pieces.iter().all(|p| width(p) <= columns));
            prop_assert_eq!(pieces.concat().replace(' ', ""), text.replace(' ', ""));
            prop_assert!(width(&truncate(&text, columns)) <= columns);
        }
    }
}
