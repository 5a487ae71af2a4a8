//! The one error type of rimg: what kind, what happened, why, and what to do about it.
//!
//! Modules that have errors of their own use `thiserror` types inside and turn them into [`Error`] at their edge.
//! An [`Error`] is rendered once, by the command line; in Lua its fields are the error value's fields.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The result of everything that can fail for a reason a user should read.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What sort of thing went wrong; a script sees [`Kind::as_str`] as `err.kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The command line, a variable or a variables file is wrong.
    Usage,
    /// The Lua script itself: syntax, runtime error, `rimg.fail`.
    Script,
    /// An option's name, type or value.
    Option,
    /// A file or folder on this host.
    Io,
    /// A program on this host: missing, or it failed.
    Host,
    /// Name resolution, connection, HTTP.
    Network,
    /// Content that is not what its checksum says.
    Checksum,
    /// Nothing answers, or not the protocol that was asked for.
    Connect,
    /// The other side is reached and refuses the credentials.
    Auth,
    /// The machine died or cannot start.
    Machine,
    /// A command on a machine or on the host ended with a status that is not accepted.
    Command,
    /// Something took longer than it was allowed to.
    Timeout,
    /// The run, the build or the operation was cancelled.
    Cancelled,
    /// An output is there already.
    Exists,
    /// A cloud refuses, or fails at, what it was asked for.
    Cloud,
    /// A thing that this builder, format or host cannot do.
    Unsupported,
    /// A defect of rimg.
    Internal,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 17] = [
        Kind::Usage,
        Kind::Script,
        Kind::Option,
        Kind::Io,
        Kind::Host,
        Kind::Network,
        Kind::Checksum,
        Kind::Connect,
        Kind::Auth,
        Kind::Machine,
        Kind::Command,
        Kind::Timeout,
        Kind::Cancelled,
        Kind::Exists,
        Kind::Cloud,
        Kind::Unsupported,
        Kind::Internal,
    ];

    /// Returns the name a script and the JSON output see.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Usage => "usage",
            Kind::Script => "script",
            Kind::Option => "option",
            Kind::Io => "io",
            Kind::Host => "host",
            Kind::Network => "network",
            Kind::Checksum => "checksum",
            Kind::Connect => "connect",
            Kind::Auth => "auth",
            Kind::Machine => "machine",
            Kind::Command => "command",
            Kind::Timeout => "timeout",
            Kind::Cancelled => "cancelled",
            Kind::Exists => "exists",
            Kind::Cloud => "cloud",
            Kind::Unsupported => "unsupported",
            Kind::Internal => "internal",
        }
    }
}

type Source = Arc<dyn std::error::Error + Send + Sync>;

#[derive(Clone)]
struct Inner {
    kind: Kind,
    message: String,
    source: Option<Source>,
    hints: Vec<String>,
    fields: BTreeMap<&'static str, serde_json::Value>,
}

/// An error that a person can act on. Cheap to move, cheap to clone.
#[derive(Clone)]
pub struct Error(Box<Inner>);

impl Error {
    /// Makes an error; `message` is one sentence without a final period, naming what was found where.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Error(Box::new(Inner {
            kind,
            message: message.into(),
            source: None,
            hints: Vec::new(),
            fields: BTreeMap::new(),
        }))
    }

    /// Says what to do about it; the first hint is the most likely one.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hints.push(hint.into());
        self
    }

    /// Names the underlying error, which is rendered after the message.
    #[must_use]
    pub fn caused_by(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.0.source = Some(Arc::new(source));
        self
    }

    /// Attaches a field that scripts and the JSON output can read, such as `status` or `stderr`.
    #[must_use]
    pub fn field(mut self, name: &'static str, value: impl Into<serde_json::Value>) -> Self {
        self.0.fields.insert(name, value.into());
        self
    }

    /// Puts `what: ` before the message, as in `build web: …`.
    #[must_use]
    pub fn within(mut self, what: impl fmt::Display) -> Self {
        self.0.message = format!("{what}: {}", self.0.message);
        self
    }

    /// Returns what sort of error it is.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Returns the message without its causes.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns what a person may do about it.
    pub fn hints(&self) -> &[String] {
        &self.0.hints
    }

    /// Returns one of its fields.
    pub fn get(&self, field: &str) -> Option<&serde_json::Value> {
        self.0.fields.get(field)
    }

    /// Returns what a script can read of it, by name.
    pub fn fields(&self) -> &BTreeMap<&'static str, serde_json::Value> {
        &self.0.fields
    }

    /// Returns the message with every cause behind it, on one line each where a cause adds something.
    pub fn full_message(&self) -> String {
        let mut text = self.0.message.clone();
        let mut source: Option<&dyn std::error::Error> = self.0.source.as_deref().map(|s| s as _);
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            // Many libraries repeat their cause in their own message.
            if !text.contains(&cause_text) {
                text.push_str(": ");
                text.push_str(&cause_text);
            }
            source = cause.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.full_message())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.kind.as_str(), self.full_message())
    }
}

impl std::error::Error for Error {}

/// Turns foreign results into ours, with a kind and a sentence.
pub trait Context<T> {
    /// Wraps the error as `message: cause`.
    fn context(self, kind: Kind, message: impl Into<String>) -> Result<T>;
    /// The same, with a message that is only made when there is an error.
    fn with_context<M: Into<String>>(self, kind: Kind, message: impl FnOnce() -> M) -> Result<T>;
}

impl<T, E: std::error::Error + Send + Sync + 'static> Context<T> for std::result::Result<T, E> {
    fn context(self, kind: Kind, message: impl Into<String>) -> Result<T> {
        self.map_err(|e| Error::new(kind, message).caused_by(e))
    }

    fn with_context<M: Into<String>>(self, kind: Kind, message: impl FnOnce() -> M) -> Result<T> {
        self.map_err(|e| Error::new(kind, message()).caused_by(e))
    }
}

/// Describes a failed system call on a path, with the hint a full disk or a missing permission deserves.
pub fn io_error(what: &str, path: impl AsRef<std::path::Path>, source: std::io::Error) -> Error {
    let path = path.as_ref();
    let error = Error::new(Kind::Io, format!("cannot {what} {}", path.display()));
    let error = match source.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => error.hint(full_disk(path)),
        std::io::ErrorKind::PermissionDenied => {
            error.hint("this user may not do that: check the owner and the mode of the path")
        }
        _ => error,
    };
    error.caused_by(source)
}

/// Says that the disk of a path is full, how large it is, and what to do.
pub fn full_disk(path: impl AsRef<std::path::Path>) -> String {
    let there = path.as_ref().ancestors().find_map(|folder| Some((folder, rustix::fs::statvfs(folder).ok()?)));
    let size = there.map_or_else(String::new, |(folder, disk)| {
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        let (free, all) = (bytes(disk.f_bavail), bytes(disk.f_blocks));
        format!(" ({free} of {all} bytes are free at {})", folder.display())
    });
    format!("the disk is full{size}: free some space, or point the output (or RIMG_CACHE_DIR) at another disk")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_shown_once() {
        let inner = std::io::Error::other("no route");
        let error = Error::new(Kind::Network, "cannot reach web").caused_by(inner);
        assert_eq!(error.to_string(), "cannot reach web: no route");
        let nested = Error::new(Kind::Host, "outer: no route").caused_by(std::io::Error::other("no route"));
        assert_eq!(nested.to_string(), "outer: no route");
    }
}
