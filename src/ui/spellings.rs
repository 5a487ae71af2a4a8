//! How a secret may be spelt where it comes out: quoted, escaped, encoded.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

/// A shorter text is found in anything.
pub const SHORTEST: usize = 4;

/// Programs wrap what they encode: `base64` at 76 characters, PEM at 64.
const WRAPPED_AT: [usize; 2] = [76, 64];

/// What RFC 3986 calls unreserved stays as it is.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What the URL standard escapes in user names and passwords.
const USERINFO: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'/')
    .add(b':')
    .add(b';')
    .add(b'=')
    .add(b'@')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'|');
/// What it escapes in a query.
const QUERY: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'\'');

/// Returns every spelling of a secret that is looked for; none of a secret that is too short to be found by it.
pub fn of(secret: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let trimmed = secret.trim();
    if trimmed.chars().filter(|c| !c.is_whitespace()).count() < SHORTEST {
        return all;
    }
    for whole in [secret, trimmed] {
        encoded(whole.as_bytes(), &mut all);
    }
    // What has several lines comes out line by line; what frames a key in PEM tells nothing.
    let lines = trimmed.lines().map(str::trim).filter(|line| !line.starts_with("-----"));
    for line in lines.filter(|line| line.chars().filter(|c| !c.is_whitespace()).count() >= SHORTEST) {
        quoted(line, &mut all);
    }
    if !trimmed.contains('\n') {
        quoted(secret, &mut all);
    }
    all.retain(|spelling| spelling.len() >= SHORTEST);
    all
}

/// Adds a line as it is, and as shells, JSON, YAML, Rust, HTML and URLs write it.
fn quoted(line: &str, all: &mut BTreeSet<String>) {
    let escaped = |escape: &dyn Fn(char) -> bool, before: &str| {
        line.chars().fold(String::new(), |mut text, c| {
            if escape(c) {
                text.push_str(before);
            }
            text.push(c);
            text
        })
    };
    all.insert(line.to_owned());
    // Shells: within single quotes, within double quotes, with backslashes.
    all.insert(line.replace('\'', r"'\''"));
    all.insert(line.replace('\'', r#"'"'"'"#));
    all.insert(escaped(&|c| matches!(c, '"' | '$' | '`' | '\\'), "\\"));
    all.insert(escaped(&|c| matches!(c, '"' | '$' | '`' | '\\' | '!'), "\\"));
    all.insert(escaped(&|c| c.is_ascii_punctuation() && !"%+-./:=@_".contains(c) || c == ' ', "\\"));
    all.insert(escaped(&|c| c.is_ascii_punctuation() && !"-_./".contains(c) || c == ' ', "\\"));
    all.insert(escaped(&|c| matches!(c, '\\' | '\''), "\\"));
    // YAML within single quotes, Rust's and JSON's texts.
    all.insert(line.replace('\'', "''"));
    all.insert(inside(&format!("{line:?}")));
    let json = serde_json::Value::from(line).to_string();
    all.insert(inside(&json.replace('/', r"\/")));
    for upper in [false, true] {
        let ascii = json.chars().fold(String::new(), |mut text, c| {
            if c.is_ascii() {
                text.push(c);
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = if upper { write!(text, "\\u{unit:04X}") } else { write!(text, "\\u{unit:04x}") };
                }
            }
            text
        });
        all.insert(inside(&ascii));
        // As encoders write it that are careful of HTML.
        let code =
            |c: char| if upper { format!("\\u{:04X}", u32::from(c)) } else { format!("\\u{:04x}", u32::from(c)) };
        all.insert(inside(&['<', '>', '&', '\''].iter().fold(ascii, |text, c| text.replace(*c, &code(*c)))));
    }
    all.insert(inside(&json));
    let markup = line.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    all.insert(markup.replace('"', "&quot;").replace('\'', "&#39;"));
    all.insert(markup.replace('"', "&#34;").replace('\'', "&#39;"));
    all.insert(markup.replace('"', "&quot;").replace('\'', "&#x27;"));
    all.insert(markup);
    for set in [COMPONENT, USERINFO, QUERY, NON_ALPHANUMERIC] {
        let url = utf8_percent_encode(line, set).to_string();
        all.insert(url.replace("%20", "+"));
        all.insert(lower_escapes(&url));
        all.insert(url);
    }
}

/// Adds bytes in base64 and in hexadecimal.
fn encoded(bytes: &[u8], all: &mut BTreeSet<String>) {
    for exact in [STANDARD.encode(bytes), URL_SAFE.encode(bytes)] {
        pieces(&exact, all);
        pieces(exact.trim_end_matches('='), all);
    }
    // Within something longer: after 3n, 3n + 1 or 3n + 2 other bytes. Characters that hold bits of neighbours are left out.
    for before in 0..3_usize {
        let shifted = [vec![0; before], bytes.to_vec()].concat();
        let (first, end) = ((before * 8).div_ceil(6), shifted.len() * 8 / 6);
        for text in [STANDARD_NO_PAD.encode(&shifted), URL_SAFE_NO_PAD.encode(&shifted)] {
            pieces(text.get(first..end).unwrap_or_default(), all);
        }
    }
    let hexadecimal = hex::encode(bytes);
    pieces(&hexadecimal.to_uppercase(), all);
    pieces(&hexadecimal, all);
    if bytes.len() <= 256 {
        let listed = |separator: &str, write: &dyn Fn(&u8) -> String| {
            bytes.iter().map(write).collect::<Vec<_>>().join(separator)
        };
        // `{:?}` of bytes, and dumps with colons and spaces.
        all.insert(listed(", ", &u8::to_string));
        all.insert(listed(":", &|byte| format!("{byte:02x}")));
        all.insert(listed(" ", &|byte| format!("{byte:02x}")));
    }
}

/// Adds a text that a program may have wrapped: as a whole where it fits into a line, else in lines' lengths.
fn pieces(text: &str, all: &mut BTreeSet<String>) {
    if text.len() <= WRAPPED_AT.into_iter().min().unwrap_or_default() {
        all.insert(text.to_owned());
        return;
    }
    for length in WRAPPED_AT {
        // ASCII: bytes are characters.
        let lines = text.as_bytes().chunks(length);
        all.extend(lines.filter(|line| line.len() >= 2 * SHORTEST).map(|l| String::from_utf8_lossy(l).into_owned()));
    }
}

/// Takes the quotes off.
fn inside(text: &str) -> String {
    text.get(1..text.len().saturating_sub(1)).unwrap_or_default().to_owned()
}

/// Writes `%2F` as `%2f`.
fn lower_escapes(url: &str) -> String {
    let mut lower = String::new();
    let mut rest = 0_u8;
    for c in url.chars() {
        rest = if c == '%' { 3 } else { rest };
        lower.push(if rest > 0 { c.to_ascii_lowercase() } else { c });
        rest = rest.saturating_sub(1);
    }
    lower
}
