//! What is written down of an operation that was done.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::kept::Kept;
use super::key::Key;
use super::records::Owner;
use crate::error::{Error, Kind};

/// What the first operation of a machine comes after.
pub const ROOT: &str = "root";

/// One operation that was done, and what came of it. Never changed once written.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Random; names the state that the machine was in after it.
    pub id: String,
    /// The record that it came after, or [`ROOT`].
    pub after: String,
    /// The operation's key, in hexadecimal.
    pub key: String,
    pub kind: String,
    pub title: String,
    /// What was asked for, without secrets.
    pub request: Value,
    pub outcome: Outcome,
    /// The files and folders that it made on this host, absolute.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<PathBuf>,
    /// Their content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Kept>,
    /// How long it took.
    pub seconds: f64,
    /// When it ended, in milliseconds since 1970.
    pub at: i64,
    /// The script, absolute, and the build that it was done for.
    pub script: String,
    pub build: String,
}

impl Record {
    /// Writes down what was done just now for `owner`; `of` is what it was: its kind, title and request, without secrets.
    pub fn new(
        owner: &Owner,
        after: &str,
        key: Key,
        (kind, title, request): (&str, String, Value),
        outcome: Outcome,
        seconds: f64,
    ) -> Record {
        Record {
            id: uuid::Uuid::new_v4().simple().to_string(),
            after: after.to_owned(),
            key: key.to_string(),
            kind: kind.to_owned(),
            title,
            request,
            outcome,
            places: Vec::new(),
            outputs: None,
            seconds,
            at: jiff::Timestamp::now().as_millisecond(),
            script: owner.script.clone(),
            build: owner.build.clone(),
        }
    }

    /// Names the operation as a person knows it.
    pub fn named(&self) -> String {
        match self.title.as_str() {
            "" => self.kind.clone(),
            title if self.kind == "boot" => format!("the boot of {title}"),
            title => format!("{} `{title}`", self.kind),
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was done, with this result.
    Done(Value),
    /// It failed, and the script may have gone on from there.
    Failed(Failure),
    /// One of the others in which there is a secret: its JSON, sealed by this user's key.
    Sealed(String),
}

/// An error as it is written down.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Failure {
    kind: String,
    message: String,
    hints: Vec<String>,
    fields: serde_json::Map<String, Value>,
}

/// The fields of errors of operations; others are not brought back.
const FIELDS: [&str; 12] = [
    "machine",
    "operation",
    "status",
    "signal",
    "stdout",
    "stderr",
    "option",
    "found",
    "expected",
    "display",
    "screen",
    "serial",
];

impl Failure {
    /// Writes an error down.
    pub fn of(error: &Error) -> Failure {
        Failure {
            kind: error.kind().as_str().to_owned(),
            message: error.full_message(),
            hints: error.hints().to_vec(),
            fields: error.fields().iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        }
    }

    /// Returns the error again.
    pub fn into_error(self) -> Error {
        let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == self.kind).unwrap_or(Kind::Command);
        let mut error = self.hints.into_iter().fold(Error::new(kind, self.message), Error::hint);
        for (name, value) in self.fields {
            if let Some(name) = FIELDS.iter().find(|known| **known == name) {
                error = error.field(name, value);
            }
        }
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_comes_back_as_it_was() {
        let error = Error::new(Kind::Command, "qemu: run `x`: exited with status 3").hint("do this");
        let error = error.field("status", 3).field("stderr", "no\n").field("machine", "qemu");
        let text = serde_json::to_string(&Failure::of(&error)).unwrap();
        let again = serde_json::from_str::<Failure>(&text).unwrap().into_error();
        assert_eq!((again.kind(), again.message(), again.hints()), (error.kind(), error.message(), error.hints()));
        assert_eq!(again.fields(), error.fields());
    }
}
