//! What is wrong with an option, and the nearest name.

use std::fmt;

use serde::de;

use super::Value;
use crate::error::{Error, Kind};

/// What is wrong with an option.
#[derive(Debug, Clone)]
pub struct OptionError {
    /// Outermost last while it travels up; `["size", "[2]", "disks"]`.
    path: Vec<String>,
    message: String,
    hint: Option<String>,
}

impl OptionError {
    /// Makes an error of a message without the option's name, which is added on the way up.
    pub fn new(message: impl Into<String>) -> OptionError {
        OptionError { path: Vec::new(), message: message.into(), hint: None }
    }

    /// Names the table or list the option is in.
    pub(super) fn under(mut self, segment: impl Into<String>) -> OptionError {
        self.path.push(segment.into());
        self
    }

    pub(super) fn hint(mut self, hint: String) -> OptionError {
        self.hint = Some(hint);
        self
    }

    /// Turns it into the error a user reads; `of` is whose options they are: `rimg.qemu`.
    pub fn into_error(self, of: &str) -> Error {
        let mut name = String::new();
        for segment in self.path.iter().rev() {
            if !name.is_empty() && !segment.starts_with('[') {
                name.push('.');
            }
            name.push_str(segment);
        }
        let message = match name.as_str() {
            "" => format!("{of}: {}", self.message),
            name => format!("{of}: option `{name}`: {}", self.message),
        };
        let error = Error::new(Kind::Option, message).field("option", name);
        match self.hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for OptionError {}

impl de::Error for OptionError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        OptionError::new(message.to_string())
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        OptionError::new(format!("expected {expected}, found {}", unexpected(found)))
    }

    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        OptionError::new(format!("expected {expected}, found {}", unexpected(found)))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let mut error = OptionError::new(format!("{variant:?} is not one of {}", expected.join(", ")));
        error.hint = did_you_mean(variant, expected);
        error
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let mut error = OptionError::new("there is no such option");
        error.path.push(field.to_owned());
        error.hint = did_you_mean(field, expected).or_else(|| match expected {
            [] => None,
            names => Some(format!("the options are: {}", names.join(", "))),
        });
        error
    }

    fn missing_field(field: &'static str) -> Self {
        OptionError::new("is required").under(field)
    }
}

fn unexpected(found: de::Unexpected<'_>) -> String {
    match found {
        de::Unexpected::Bool(b) => format!("the boolean {b}"),
        de::Unexpected::Unsigned(n) => format!("the number {n}"),
        de::Unexpected::Signed(n) => format!("the number {n}"),
        de::Unexpected::Float(n) => format!("the number {n}"),
        de::Unexpected::Str(s) => Value::Str(s.to_owned()).describe(),
        de::Unexpected::Seq => "a list".into(),
        de::Unexpected::Map => "a table".into(),
        de::Unexpected::Unit | de::Unexpected::Option => "nil".into(),
        other => other.to_string(),
    }
}

/// Returns `did you mean `x`?` for the nearest of the names, where one is near enough.
pub fn did_you_mean<S: AsRef<str>>(name: &str, names: &[S]) -> Option<String> {
    let nearest = names
        .iter()
        .map(|candidate| candidate.as_ref())
        .map(|candidate| {
            (strsim::damerau_levenshtein(name, candidate), strsim::jaro_winkler(name, candidate), candidate)
        })
        .filter(|(distance, similarity, _)| *distance <= 1 + name.chars().count() / 4 || *similarity > 0.9)
        .max_by(|a, b| b.0.cmp(&a.0).then(a.1.total_cmp(&b.1)))?;
    Some(format!("did you mean `{}`?", nearest.2))
}
