//! One line of a configuration: its keyword and its words.

/// Takes a line apart: the keyword in small letters, and the words after it (after `=`, too). Comments and empty lines
/// are nothing; quotes hold words together.
pub(super) fn split(line: &str) -> Result<Option<(String, Vec<String>)>, &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let end = line.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(line.len());
    let (keyword, rest) = line.split_at_checked(end).unwrap_or((line, ""));
    let rest = rest.trim_start();
    let rest = rest.strip_prefix('=').unwrap_or(rest);
    Ok(Some((keyword.to_ascii_lowercase(), words(rest)?)))
}

fn words(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut characters = text.chars().peekable();
    while let Some(next) = characters.peek() {
        if next.is_whitespace() {
            characters.next();
            continue;
        }
        // A comment begins where a word could.
        if *next == '#' {
            break;
        }
        let mut word = String::new();
        let mut quote = None;
        while let Some(c) = characters.peek().copied() {
            match quote {
                None if c.is_whitespace() => break,
                None if c == '"' || c == '\'' => quote = Some(c),
                Some(open) if c == open => quote = None,
                _ if c == '\\' => {
                    characters.next();
                    match characters.peek() {
                        Some(escaped @ ('"' | '\'' | '\\')) => word.push(*escaped),
                        Some(' ') if quote.is_none() => word.push(' '),
                        _ => {
                            word.push('\\');
                            continue;
                        }
                    }
                }
                _ => word.push(c),
            }
            characters.next();
        }
        if quote.is_some() {
            return Err("a quote is not closed");
        }
        words.push(word);
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keywords_equals_signs_quotes_and_comments() {
        let is = |line: &str, keyword: &str, words: &[&str]| {
            let (found, list) = split(line).unwrap().unwrap();
            assert_eq!((found.as_str(), list), (keyword, words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>()));
        };
        is("Host a b", "host", &["a", "b"]);
        is("  Port=22", "port", &["22"]);
        is("Port =  22 # comment", "port", &["22"]);
        is("IdentityFile \"~/my keys/id\" other", "identityfile", &["~/my keys/id", "other"]);
        is(r"IdentityFile a\ b\\c", "identityfile", &[r"a b\c"]);
        is("User a#b", "user", &["a#b"]);
        assert_eq!(split("# x"), Ok(None));
        assert_eq!(split("   "), Ok(None));
        assert!(split("User \"x").is_err());
    }

    proptest! {
        #[test]
        fn any_line_is_taken_apart_or_refused(line in "\\PC{0,40}") {
            let _ = split(&line);
        }

        #[test]
        fn quoted_words_come_back(words in proptest::collection::vec("[a-z #='~/]{1,8}", 1..5)) {
            let line = format!("Key {}", words.iter().map(|w| format!("\"{w}\"")).collect::<Vec<_>>().join(" "));
            prop_assert_eq!(split(&line).unwrap().unwrap().1, words);
        }
    }
}
