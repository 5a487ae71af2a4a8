//! Patterns of host names and users (PATTERNS in `ssh_config(5)`).

/// Tells whether a pattern with `*` and `?` fits the whole text; capitals count.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where the last `*` was, and what it has swallowed so far.
    let mut star: Option<(usize, usize)> = None;
    while let Some(c) = text.get(t) {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(wanted) if *wanted == '?' || wanted == c => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, swallowed)) => {
                    star = Some((at, swallowed + 1));
                    p = at + 1;
                    t = swallowed + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|c| *c == '*')
}

/// Tells whether one of the patterns fits and none of the negated ones (`!`) does; capitals do not count.
pub fn matches_list(patterns: &[impl AsRef<str>], text: &str) -> bool {
    let text = text.to_lowercase();
    let mut fits = false;
    for pattern in patterns {
        let pattern = pattern.as_ref().to_lowercase();
        match pattern.strip_prefix('!') {
            Some(negated) if matches(negated, &text) => return false,
            Some(_) => {}
            None => fits |= matches(&pattern, &text),
        }
    }
    fits
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stars_question_marks_and_negation() {
        for (pattern, text, fits) in [
            ("*", "", true),
            ("*.example.org", "a.b.example.org", true),
            ("*.example.org", "example.org", false),
            ("10.0.?.*", "10.0.1.22", true),
            ("10.0.?.*", "10.0.12.22", false),
            ("a*b*c", "axxbxxbc", true),
            ("a*b*c", "axxbxxb", false),
            ("", "x", false),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
        assert!(matches_list(&["*.org", "!bad.*"], "Good.org"));
        assert!(!matches_list(&["*.org", "!bad.*"], "bad.org"));
        assert!(!matches_list(&["!bad"], "good"));
    }

    proptest! {
        #[test]
        fn agrees_with_a_regular_expression(pattern in "[ab*?]{0,8}", text in "[ab]{0,8}") {
            // The slow and obvious way.
            fn slow(p: &[u8], t: &[u8]) -> bool {
                match (p, t) {
                    ([], []) => true,
                    ([b'*', rest @ ..], _) => slow(rest, t) || (!t.is_empty() && slow(p, &t[1..])),
                    ([b'?', rest @ ..], [_, tail @ ..]) => slow(rest, tail),
                    ([c, rest @ ..], [d, tail @ ..]) => c == d && slow(rest, tail),
                    _ => false,
                }
            }
            prop_assert_eq!(matches(&pattern, &text), slow(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
