//! The door: everything a script does to a machine is an [`Operation`] and goes through `Session::perform`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

use super::cx::BuildCx;

/// One thing to be done to a machine.
#[derive(Debug, Clone)]
pub struct Operation {
    /// `run`, `shell`, `upload`, `reboot`, …
    pub kind: &'static str,
    /// One short line for a person: the command, the target path.
    pub title: String,
    /// What is asked for, as data: the part of the operation's key that does not depend on files' content.
    pub request: serde_json::Value,
    /// How long one attempt may take.
    pub timeout: Option<Duration>,
    /// Whether the action itself sees to the limit, because it has to end something on the machine then.
    pub limits_itself: bool,
    /// Whether the machine going away or off during it is expected (a reboot, a shutdown).
    pub survives_death: bool,
    /// The places on this host that its result may be put in, absolute. No part of the request: what is done to the
    /// machine does not depend on them, and a replay puts the result where this run wants it.
    pub local: Vec<PathBuf>,
    /// Whether it leaves the machine as it is, so that it need not be done again to bring a machine to what came after.
    pub only_reads: bool,
    /// Whether it is no part of what is done to the machine, but needs it to be there (a breakpoint).
    pub is_aside: bool,
}

impl Operation {
    /// Makes an operation; `request` is serialised at once.
    pub fn new(kind: &'static str, title: impl Into<String>, request: impl Serialize) -> Operation {
        Operation {
            kind,
            title: one_line(&title.into()),
            request: serde_json::to_value(request).unwrap_or(serde_json::Value::Null),
            timeout: None,
            limits_itself: false,
            survives_death: false,
            local: Vec::new(),
            only_reads: false,
            is_aside: false,
        }
    }

    /// Limits how long it may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Option<Duration>) -> Self {
        self.timeout = timeout;
        self
    }

    /// Says that the action itself reads and keeps the limit.
    #[must_use]
    pub fn limits_itself(mut self) -> Self {
        self.limits_itself = true;
        self
    }

    /// Says that it leaves the machine as it is.
    #[must_use]
    pub fn only_reads(mut self) -> Self {
        self.only_reads = true;
        self
    }

    /// Says where on this host its result goes.
    #[must_use]
    pub fn to_host(mut self, places: Vec<PathBuf>) -> Self {
        self.local = places;
        self
    }

    /// Says that it is no part of what is done to the machine, but needs it to be there.
    #[must_use]
    pub fn aside(mut self) -> Self {
        self.is_aside = true;
        self
    }

    /// Says that the machine may go off during it.
    #[must_use]
    pub fn survives_death(mut self) -> Self {
        self.survives_death = true;
        self
    }
}

/// What an operation gives back: recordable, and known in advance where nothing is really done.
pub trait Answer: Serialize + DeserializeOwned + Send {
    /// Returns what a machine that answers "done" says (`rimg check`).
    fn done(operation: &Operation) -> Self;

    /// Returns the files and folders on this host that `operation` made, absolute: a replay brings them back. Of a recorded
    /// answer, they are those of the operation that is asked for now, in the same order.
    fn outputs(&self, _operation: &Operation) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Returns the recorded answer as that of a replay; paths below `from` are now below `to`.
    #[must_use]
    fn moved(self, _from: &Path, _to: &Path) -> Self {
        self
    }
}

impl Answer for () {
    fn done(_: &Operation) -> Self {}
}

impl Answer for serde_json::Value {
    fn done(_: &Operation) -> Self {
        serde_json::Value::Null
    }
}

impl Answer for u64 {
    fn done(_: &Operation) -> Self {
        0
    }
}

/// Returns what stands for content in an operation's request; it does not tell the secrets in it.
pub fn digest(content: &[u8]) -> String {
    if let Some(cx) = BuildCx::current().filter(|cx| cx.ui.secrets().occurs_in(content)) {
        return cx.keyed_digest(content);
    }
    format!("blake3:{}", blake3::hash(content).to_hex())
}

/// Shortens text to its first line and 100 characters.
fn one_line(text: &str) -> String {
    let mut lines = text.trim().lines();
    let first = lines.next().unwrap_or_default();
    let mut short: String = first.chars().take(100).collect();
    if short.len() < first.len() || lines.next().is_some() {
        short.push_str(" …");
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Mode, testing};
    use crate::ui::Ui;

    #[tokio::test]
    async fn a_digest_does_not_tell_secrets() {
        let (_dir, cx) = testing::surroundings(Mode::Live, Ui::silent());
        let (_other_dir, other) = testing::surroundings(Mode::Live, Ui::silent());
        for cx in [&cx, &other] {
            cx.ui.secrets().add("hunter2");
        }
        let of = async |cx: &BuildCx, content: &[u8]| cx.clone().enter(async { digest(content) }).await;
        assert_eq!(of(&cx, b"plain").await, format!("blake3:{}", blake3::hash(b"plain").to_hex()));
        let hidden = of(&cx, b"PW=hunter2\xff").await;
        assert!(hidden.starts_with("keyed:"), "{hidden}");
        assert_eq!(of(&cx, b"PW=hunter2\xff").await, hidden);
        assert_ne!(of(&cx, b"PW=hunter2").await, hidden);
        assert_ne!(of(&other, b"PW=hunter2\xff").await, hidden);
    }
}
