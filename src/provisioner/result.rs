//! What a command on a machine gives back.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::output::Captured;
use crate::engine::{Answer, ExitStatus, Operation};
use crate::error::{Error, Kind};

/// How many of a failed command's last lines its error shows.
const LAST_LINES: usize = 5;

/// The result of a command.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CommandResult {
    /// The exit status; 128 and more for signals, as a shell reports it.
    pub status: i32,
    /// The signal that killed it, without `SIG`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// What it wrote, invalid UTF-8 replaced.
    pub stdout: String,
    pub stderr: String,
    /// Whether the status is an accepted one.
    pub ok: bool,
    /// Whether this is a recorded result.
    pub cached: bool,
    /// Whether output beyond the capture limit is missing here.
    pub truncated: bool,
    /// Whether the connection dropped before its end was seen (`expect_disconnect`).
    pub disconnected: bool,
    /// The last output, for the error; where output was cut, not in `stdout` and `stderr`.
    #[serde(skip)]
    pub last_words: String,
}

impl Answer for CommandResult {
    fn done(_: &Operation) -> Self {
        CommandResult { ok: true, ..CommandResult::default() }
    }

    fn moved(self, _: &Path, _: &Path) -> Self {
        CommandResult { cached: true, ..self }
    }
}

impl CommandResult {
    /// Puts status and output together; `valid` are the accepted statuses.
    pub fn new(status: &ExitStatus, captured: Captured, valid: &[i32]) -> CommandResult {
        let code = status.code();
        CommandResult {
            status: code,
            signal: match status {
                ExitStatus::Code(_) => None,
                ExitStatus::Signal(name) => Some(name.clone()),
            },
            ok: match status {
                ExitStatus::Code(code) => valid.contains(code),
                ExitStatus::Signal(_) => false,
            },
            last_words: captured.last_lines(LAST_LINES),
            truncated: captured.truncated(),
            stdout: captured.stdout.into_text(),
            stderr: captured.stderr.into_text(),
            cached: false,
            disconnected: false,
        }
    }

    /// Returns the result, or the error that tells of its status.
    pub fn accepted(self, valid: &[i32]) -> Result<CommandResult, Error> {
        if self.ok { Ok(self) } else { Err(self.into_error(valid)) }
    }

    /// Describes the failed command: status, last lines, and what is known to help.
    pub fn into_error(self, valid: &[i32]) -> Error {
        let mut message = match &self.signal {
            Some(signal) => format!("killed by signal {signal}"),
            None => format!("exited with status {}", self.status),
        };
        if valid != [0] {
            let list = valid.iter().map(i32::to_string).collect::<Vec<_>>().join(", ");
            message.push_str(&format!(" (accepted: {list})"));
        }
        for line in self.last_words.lines() {
            message.push_str("\n    ");
            message.push_str(line);
        }
        let mut error = Error::new(Kind::Command, message);
        if let Some(hint) = hint(self.status, &self.stderr) {
            error = error.hint(hint);
        }
        error.field("status", self.status).field("stdout", self.stdout).field("stderr", self.stderr)
    }
}

fn hint(status: i32, stderr: &str) -> Option<&'static str> {
    let sudo = |text: &str| stderr.lines().any(|line| line.starts_with("sudo: ") && line.contains(text));
    if sudo("password is required") || sudo("terminal is required") {
        return Some(
            "sudo asks this user for a password: give the user NOPASSWD in sudoers, or for :shell pass the password \
             with execute_command = \"echo 'PASSWORD' | {{ .Vars }} sudo -S -E sh {{ .Path }}\"",
        );
    }
    if sudo("must have a tty") {
        return Some("sudo on this machine wants a terminal: remove `requiretty` from sudoers");
    }
    match status {
        127 if stderr.contains("sudo") => Some("install sudo on the machine, or log in as root"),
        127 => Some("status 127 means that a program was not found on the machine: check its name and PATH"),
        126 => Some("status 126 means that a file could not be executed: check its mode, or the space in its folder"),
        _ => None,
    }
}
