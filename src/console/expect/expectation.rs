//! What is waited for, and what a match is.

use std::collections::BTreeMap;
use std::time::Duration;

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

use crate::engine::Seconds;
use crate::error::{Error, Kind, Result};

const TIMEOUT: Duration = Duration::from_secs(60);
/// A pattern that compiles to more than this is no honest one.
const MAX_COMPILED: usize = 1 << 20;

/// Where text is looked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    #[default]
    Any,
    Screen,
    Serial,
}

/// Where text was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScreenOrSerial {
    #[default]
    Screen,
    Serial,
}

/// How to wait for text on a machine's console.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExpectOptions {
    /// How long to wait; 60 seconds unless said otherwise.
    pub timeout: Option<Seconds>,
    /// Where to look: `screen`, `serial` or `any`; the default is `any`.
    pub source: Place,
    /// Whether the patterns are literal text rather than regular expressions.
    pub plain: bool,
    /// Whether the serial console is looked at from its beginning; otherwise from behind the last match.
    pub from_start: bool,
    /// Patterns that end the wait with an error as soon as they appear: what an installer shows when it gives up.
    pub fail: Vec<String>,
}

/// Patterns to wait for; the first to appear ends the wait.
#[derive(Debug, Clone)]
pub struct Expectation {
    /// Those that are hoped for, then those that mean failure.
    patterns: Vec<(String, Regex)>,
    /// How many are hoped for.
    wanted: usize,
    /// Where to look.
    pub place: Place,
    /// How long to wait.
    pub timeout: Duration,
    /// Whether the serial console is looked at from its beginning.
    pub from_start: bool,
}

/// What appeared.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    /// Which of the patterns it was, from 1.
    pub index: usize,
    /// The text that matched.
    #[serde(rename = "match")]
    pub matched: String,
    /// What its groups matched; empty for one that took no part.
    pub captures: Vec<String>,
    /// What its named groups matched.
    pub named: BTreeMap<String, String>,
    /// All of the screen's text, or the serial console's since the last match up to this one.
    pub text: String,
    /// Where it appeared.
    pub source: ScreenOrSerial,
}

impl Expectation {
    /// Takes patterns: regular expressions in the syntax of Rust's `regex`, in which `^` and `$` stand at the ends of lines.
    pub fn new(patterns: &[String], options: &ExpectOptions) -> Result<Expectation> {
        if patterns.is_empty() {
            return Err(Error::new(Kind::Option, "there is no pattern"));
        }
        let compiled =
            patterns.iter().chain(&options.fail).map(|text| Ok((text.clone(), compile(text, options.plain)?)));
        Ok(Expectation {
            patterns: compiled.collect::<Result<_>>()?,
            wanted: patterns.len(),
            place: options.source,
            timeout: options.timeout.map_or(TIMEOUT, |seconds| seconds.0),
            from_start: options.from_start,
        })
    }

    /// Tells whether something is looked at.
    pub fn looks_at(&self, source: ScreenOrSerial) -> bool {
        match self.place {
            Place::Any => true,
            Place::Screen => source == ScreenOrSerial::Screen,
            Place::Serial => source == ScreenOrSerial::Serial,
        }
    }

    /// Tells whether what appeared is one of the patterns that mean failure.
    pub fn is_failure(&self, expected: &Expected) -> bool {
        expected.index > self.wanted
    }

    /// Returns the patterns that are hoped for, for a person: `/login:/ or /#/`.
    pub fn title(&self) -> String {
        let wanted = self.patterns.iter().take(self.wanted);
        let quoted: Vec<String> = wanted.map(|(text, _)| format!("/{text}/")).collect();
        quoted.join(" or ")
    }

    /// Returns the leftmost match in `text` and the offset where it ends. Of several at one place the first pattern's wins.
    pub fn find(&self, text: &str, source: ScreenOrSerial) -> Option<(Expected, usize)> {
        let found = self.patterns.iter().enumerate();
        let found = found.filter_map(|(index, (_, regex))| regex.find(text).map(|found| (found.start(), index, regex)));
        let (start, index, regex) = found.min_by_key(|(start, index, _)| (*start, *index))?;
        let captures = regex.captures_at(text, start)?;
        let whole = captures.get(0)?;
        let group = |group: Option<regex::Match<'_>>| group.map(|m| m.as_str().to_owned()).unwrap_or_default();
        let expected = Expected {
            index: index + 1,
            matched: whole.as_str().to_owned(),
            captures: captures.iter().skip(1).map(group).collect(),
            named: regex.capture_names().flatten().map(|name| (name.to_owned(), group(captures.name(name)))).collect(),
            text: match source {
                ScreenOrSerial::Screen => text,
                ScreenOrSerial::Serial => text.get(..whole.end()).unwrap_or_default(),
            }
            .to_owned(),
            source,
        };
        Some((expected, whole.end()))
    }

    /// Returns what a machine that answers "done" shows: the first pattern, its groups empty.
    pub fn pretended(&self) -> Expected {
        let (text, regex) = self.patterns.first().map_or(("", None), |(text, regex)| (text.as_str(), Some(regex)));
        let names = regex.into_iter().flat_map(|regex| regex.capture_names().flatten());
        Expected {
            index: 1,
            matched: text.to_owned(),
            captures: vec![String::new(); regex.map_or(0, |regex| regex.captures_len().saturating_sub(1))],
            named: names.map(|name| (name.to_owned(), String::new())).collect(),
            text: text.to_owned(),
            source: if self.place == Place::Serial { ScreenOrSerial::Serial } else { ScreenOrSerial::Screen },
        }
    }
}

fn compile(pattern: &str, plain: bool) -> Result<Regex> {
    if pattern.is_empty() {
        return Err(Error::new(Kind::Option, "a pattern is empty"));
    }
    let escaped = plain.then(|| regex::escape(pattern));
    let text = escaped.as_deref().unwrap_or(pattern);
    let built = RegexBuilder::new(text).multi_line(true).size_limit(MAX_COMPILED).dfa_size_limit(MAX_COMPILED).build();
    built.map_err(|error| {
        let said = error.to_string();
        // The crate draws the pattern with a caret over several lines; the last one says what is wrong.
        let why = said.lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned();
        Error::new(Kind::Option, format!("the pattern {pattern:?} is no regular expression: {why}"))
            .hint("`plain = true` takes it as literal text")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn expectation(patterns: &[&str], options: ExpectOptions) -> Result<Expectation> {
        Expectation::new(&patterns.iter().map(|&text| text.to_owned()).collect::<Vec<_>>(), &options)
    }

    #[test]
    fn the_leftmost_match_wins_and_brings_its_groups() {
        let expectation = expectation(&["([a-z]+)@(?<host>\\w+)(!)?", "^root"], ExpectOptions::default()).unwrap();
        let (expected, end) = expectation.find("x\nroot@web\n", ScreenOrSerial::Serial).unwrap();
        assert_eq!((expected.index, expected.matched.as_str(), end), (1, "root@web", 10));
        assert_eq!(expected.captures, ["root", "web", ""]);
        assert_eq!(expected.named["host"], "web");
        assert_eq!(expected.text, "x\nroot@web");
        let (expected, _) = expectation.find("root and a@b", ScreenOrSerial::Screen).unwrap();
        assert_eq!((expected.index, expected.text.as_str()), (2, "root and a@b"));
        assert_eq!(expectation.title(), "/([a-z]+)@(?<host>\\w+)(!)?/ or /^root/");
        assert_eq!(expectation.pretended().captures, ["", "", ""]);
    }

    #[test]
    fn a_pattern_that_means_failure_is_told_apart() {
        let options = ExpectOptions { fail: vec!["[Ff]ailed".into()], ..ExpectOptions::default() };
        let expectation = expectation(&["done", "login:"], options.clone()).unwrap();
        let found = |text| expectation.find(text, ScreenOrSerial::Screen).unwrap().0;
        assert!(expectation.is_failure(&found("step failed")) && !expectation.is_failure(&found("login: ")));
        assert_eq!(found("it failed").index, 3);
        assert_eq!(expectation.title(), "/done/ or /login:/");
        let wrong = ExpectOptions { fail: vec!["(".into()], ..options };
        assert!(Expectation::new(&["x".into()], &wrong).is_err());
    }

    #[test]
    fn mistakes_are_found_before_anything_is_waited_for() {
        let wrong = |pattern: &str, options| expectation(&[pattern], options).unwrap_err();
        let error = wrong("(", ExpectOptions::default());
        assert_eq!(error.message(), "the pattern \"(\" is no regular expression: unclosed group");
        assert!(wrong("", ExpectOptions::default()).message().contains("empty"));
        assert!(wrong("\\w{1000}{100}", ExpectOptions::default()).message().contains("size limit"));
        assert!(Expectation::new(&[], &ExpectOptions::default()).is_err());
    }

    proptest! {
        #[test]
        fn plain_text_is_found_where_it_is(before in "[a-z]{0,5}", text in "[^a-z]{1,6}", after in ".{0,5}") {
            let options = ExpectOptions { plain: true, ..ExpectOptions::default() };
            let expectation = expectation(&[&text], options).unwrap();
            let (expected, end) = expectation.find(&format!("{before}{text}{after}"), ScreenOrSerial::Screen).unwrap();
            prop_assert_eq!((expected.matched, end), (text.clone(), before.len() + text.len()));
        }

        #[test]
        fn never_panics(pattern in "[(?<a>)\\[\\]*+{}0-9|^$.\\\\pdw]{0,12}", text in ".{0,30}") {
            if let Ok(expectation) = expectation(&[&pattern], ExpectOptions::default()) {
                let _ = expectation.find(&text, ScreenOrSerial::Screen);
            }
        }
    }
}
