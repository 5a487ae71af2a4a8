//! How commands and files reach a machine.

use std::path::Path;

use async_trait::async_trait;

use super::quote;
use crate::error::{Error, Kind, Result};
use crate::ui::event::Counter;

/// What to execute: a line for the machine's shell, or a program with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    Shell(String),
    Argv(Vec<String>),
}

impl Line {
    /// Returns the command as a POSIX shell line, arguments quoted.
    pub fn to_shell(&self) -> String {
        match self {
            Line::Shell(line) => line.clone(),
            Line::Argv(argv) => quote::join(argv),
        }
    }
}

/// A command with its surroundings.
#[derive(Debug, Clone)]
pub struct Command {
    pub line: Line,
    /// Environment variables, in order; names were validated as `[A-Za-z_][A-Za-z0-9_]*`.
    pub env: Vec<(String, String)>,
    /// Bytes for standard input, which is closed after them.
    pub stdin: Option<Vec<u8>>,
}

impl Command {
    /// Makes a command of a line for the machine's shell.
    pub fn shell(line: impl Into<String>) -> Command {
        Command { line: Line::Shell(line.into()), env: Vec::new(), stdin: None }
    }

    /// Makes a command of words that no shell takes apart.
    pub fn argv(argv: impl IntoIterator<Item = impl Into<String>>) -> Command {
        Command { line: Line::Argv(argv.into_iter().map(Into::into).collect()), env: Vec::new(), stdin: None }
    }
}

/// How a command ended: a code, or the signal that killed it (`TERM`, without `SIG`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitStatus {
    Code(i32),
    Signal(String),
}

impl ExitStatus {
    /// Returns the code as a shell would report it: 128 and more for signals.
    pub fn code(&self) -> i32 {
        match self {
            ExitStatus::Code(code) => *code,
            ExitStatus::Signal(name) => match name.as_str() {
                "HUP" => 129,
                "INT" => 130,
                "QUIT" => 131,
                "ABRT" => 134,
                "KILL" => 137,
                "SEGV" => 139,
                "PIPE" => 141,
                "TERM" => 143,
                _ => 128,
            },
        }
    }
}

/// Takes a command's output as it comes, in pieces of any size.
#[async_trait]
pub trait OutputSink: Send {
    /// Takes a piece of standard output.
    fn stdout(&mut self, bytes: &[u8]);
    /// Takes a piece of standard error.
    fn stderr(&mut self, bytes: &[u8]);
    /// Waits until there is room for more; whoever feeds a sink asks it between the pieces.
    async fn room(&mut self) {}
}

/// How much [`Sink::Bytes`] takes: what is larger belongs into a file.
pub const BYTES_LIMIT: u64 = 64 << 20;

/// Makes the error for content that is larger than [`BYTES_LIMIT`].
pub fn too_large(path: &str) -> Error {
    let message = format!("{path} on the machine is larger than {} MiB", BYTES_LIMIT >> 20);
    Error::new(Kind::Unsupported, message).hint("use vm:download, which goes to a file")
}

/// What to upload.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    File(&'a Path),
    Bytes(&'a [u8]),
    /// The contents of a folder, which become the contents of the target folder (made if need be): modes, modification
    /// times and symbolic links kept.
    Tree(&'a Path),
}

/// Where a download goes. Files appear whole or not at all.
pub enum Sink<'a> {
    File(&'a Path),
    Bytes(&'a mut Vec<u8>),
    /// The contents of a remote folder, into this folder.
    Tree(&'a Path),
}

/// What an uploaded file is to be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileMeta {
    /// Permission bits, `0o755`; for a file upload the default is the source's own, for bytes 0644.
    pub mode: Option<u32>,
    /// A number that the attempts at one upload share, so that a later one takes over what an earlier one, cut off, had
    /// to leave on the machine.
    pub transfer: Option<u64>,
}

/// A live way to a machine. Calls may run side by side; dropping a call's future cancels it.
#[async_trait]
pub trait Communicator: Send + Sync {
    /// Runs a command to its end. An error means that it could not be run or that its end was not seen
    /// (`Kind::Connect`: the connection dropped); a non-zero status is no error here.
    async fn exec(&self, command: &Command, out: &mut dyn OutputSink) -> Result<ExitStatus>;

    /// Sends a file, bytes or a tree to a path on the machine, and returns the bytes of content sent; `counter`
    /// advances with them. A file appears whole at its target or not at all.
    async fn upload(&self, what: Source<'_>, to: &str, meta: FileMeta, counter: &Counter) -> Result<u64>;

    /// Fetches a path on the machine, and returns the bytes of content received.
    async fn download(&self, from: &str, to: Sink<'_>, counter: &Counter) -> Result<u64>;

    /// Connects this process's standard input and output with a shell on the machine, or with a command, until it ends.
    async fn interact(&self, _command: Option<&str>) -> Result<ExitStatus> {
        Err(Error::new(Kind::Unsupported, "no shell can be opened on this machine"))
    }

    /// Says good-bye, after what was cancelled has ended; afterwards every call fails. Idempotent.
    async fn close(&self);

    /// Resolves when the connection is gone, however that came about.
    async fn closed(&self);
}
