//! Everything a person must see is one of these events; a renderer decides how.
//!
//! `--json` prints one [`Stamped`] event a line. Its shape is documented in `docs/events.md` and is stable: fields are
//! added, never renamed or removed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// How loud a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// Which of a command's outputs a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    Stdout,
    Stderr,
}

/// The live counter of a piece of work; shared with whoever does the work, so advancing costs one atomic add.
#[derive(Debug, Clone, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Advances by `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Sets what is done so far.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// Returns what is done so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// An error as events carry it.
#[derive(Debug, Clone, Serialize)]
pub struct ErrorReport {
    /// `Kind::as_str`.
    pub kind: String,
    /// The message with its causes.
    pub message: String,
    pub hints: Vec<String>,
    /// `script.lua:12`, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// The source line at `location` with its neighbours, as shown to a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excerpt: Option<String>,
    /// The Lua traceback without the runtime's own frames.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub traceback: Vec<String>,
    /// Fields of the error: status, stdout, stderr, …
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    pub fields: serde_json::Map<String, serde_json::Value>,
}

/// A file of an artifact, as events and summaries show it.
#[derive(Debug, Clone, Serialize)]
pub struct ArtifactFile {
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Algorithm and lower-case hexadecimal digest, where one was computed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub digests: Vec<(String, String)>,
}

/// One thing that happened. `build` is the build's name; the run itself has none.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    RunStarted {
        version: &'static str,
        script: String,
        mode: &'static str,
    },
    /// Earlier runs were killed, and left something that `rimg gc` removes.
    LeftOver {
        /// Their ids.
        runs: Vec<String>,
    },
    RunFinished {
        ok: bool,
        seconds: f64,
        /// How many operations gave their recorded results back, and how many were done.
        replayed: u64,
        performed: u64,
        /// How long the replayed ones took when they were done, less what it took to go on after them.
        saved_seconds: f64,
    },
    BuildStarted {
        build: String,
    },
    BuildFinished {
        build: String,
        ok: bool,
        seconds: f64,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<ErrorReport>,
    },
    /// A build that `--only`/`--except` left out.
    BuildSkipped {
        build: String,
    },
    StepStarted {
        build: String,
        id: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        parent: Option<u64>,
        name: String,
    },
    StepFinished {
        build: String,
        id: u64,
        name: String,
        ok: bool,
        seconds: f64,
    },
    /// One operation on one machine, or on an artifact with an empty `machine`; `kind` is `run`, `upload`, …, `title` says
    /// it in one short line.
    OperationStarted {
        build: String,
        id: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        step: Option<u64>,
        machine: String,
        kind: &'static str,
        title: String,
    },
    OperationFinished {
        build: String,
        id: u64,
        machine: String,
        kind: &'static str,
        title: String,
        ok: bool,
        cached: bool,
        seconds: f64,
    },
    Output {
        build: String,
        machine: String,
        stream: Stream,
        line: String,
    },
    Message {
        #[serde(skip_serializing_if = "Option::is_none")]
        build: Option<String>,
        level: Level,
        text: String,
    },
    ProgressStarted {
        #[serde(skip_serializing_if = "Option::is_none")]
        build: Option<String>,
        id: u64,
        what: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        total: Option<u64>,
        unit: Unit,
        #[serde(skip)]
        counter: Counter,
    },
    /// Sent at most once a second by renderers that cannot look at the counter.
    ProgressAdvanced {
        id: u64,
        done: u64,
    },
    ProgressFinished {
        id: u64,
        done: u64,
        seconds: f64,
    },
    /// Something that a build had made and still had at its end was removed, or could not be.
    ResourceRemoved {
        build: String,
        kind: String,
        name: String,
        ok: bool,
        seconds: f64,
    },
    /// A machine of a failed build stays up when the run has ended.
    MachineKept {
        build: String,
        machine: String,
        id: String,
        /// The command that opens a shell in it.
        shell: String,
    },
    Artifact {
        build: String,
        id: String,
        kind: String,
        builder: String,
        files: Vec<ArtifactFile>,
    },
    /// A machine asked the HTTP server that it is installed from for something. Emitted when the answer is sent, or when the
    /// client is gone; `bytes` is what was sent of its content.
    HttpRequest {
        build: String,
        address: String,
        method: String,
        path: String,
        status: u16,
        bytes: u64,
        seconds: f64,
    },
    /// A final error of the run itself (the script did not load, a main chunk failed).
    Failed {
        error: ErrorReport,
    },
}

/// What a progress counter counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    Bytes,
    Files,
    Percent,
    /// Nothing to count: only that something is going on.
    Spinner,
}

/// An event with the moment it happened.
#[derive(Debug, Clone, Serialize)]
pub struct Stamped {
    /// RFC 3339 with milliseconds, UTC.
    pub time: String,
    #[serde(flatten)]
    pub event: Event,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// Returns the documented names, each with the fields of the table after it.
    fn documented(text: &str) -> Vec<(String, BTreeSet<String>)> {
        let mut events: Vec<(String, BTreeSet<String>)> = Vec::new();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("### `").and_then(|rest| rest.strip_suffix('`')) {
                events.push((name.to_owned(), BTreeSet::new()));
            } else if line.starts_with("## ") {
                events.push((String::new(), BTreeSet::new()));
            } else if let (Some((field, _)), Some((_, fields))) =
                (line.strip_prefix("| `").and_then(|rest| rest.split_once('`')), events.last_mut())
            {
                fields.insert(field.to_owned());
            }
        }
        events.retain(|(name, _)| !name.is_empty());
        events
    }

    /// Returns the variants of `enum Event` as this file declares them, with their fields.
    fn declared(source: &str) -> Vec<(String, BTreeSet<String>)> {
        let body = source.split("pub enum Event {").nth(1).unwrap().split("\n}").next().unwrap();
        let mut events: Vec<(String, BTreeSet<String>)> = Vec::new();
        let mut hidden = false;
        for line in body.lines() {
            let is_variant = line.starts_with("    ") && !line.starts_with("     ");
            let line = line.trim();
            if let Some(name) = line.strip_suffix(" {").filter(|_| is_variant) {
                let mut snake = String::new();
                for c in name.chars() {
                    if c.is_uppercase() && !snake.is_empty() {
                        snake.push('_');
                    }
                    snake.extend(c.to_lowercase());
                }
                events.push((snake, BTreeSet::new()));
            } else if line == "#[serde(skip)]" {
                hidden = true;
            } else if let Some((field, _)) = line.split_once(": ").filter(|_| !line.starts_with('/'))
                && !std::mem::take(&mut hidden)
            {
                events.last_mut().unwrap().1.insert(field.to_owned());
            }
        }
        events
    }

    #[test]
    fn every_event_and_each_of_its_fields_is_documented() {
        let mut documented = documented(include_str!("../../docs/events.md"));
        let mut declared = declared(include_str!("event.rs"));
        documented.sort();
        declared.sort();
        assert!(declared.len() >= 16, "the declarations were not understood: {declared:?}");
        assert_eq!(documented, declared);
    }
}
