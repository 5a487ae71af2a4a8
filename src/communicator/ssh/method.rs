//! By which way files travel, and what a machine has for it.

use serde::Deserialize;

use super::super::scripts;
use super::channel::{Input, Output};
use super::session::SshCommunicator;
use crate::engine::ExitStatus;
use crate::error::{Error, Kind, Result};

/// By which protocol files travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileTransferMethod {
    /// SSH File Transfer Protocol.
    Sftp,
    /// The protocol of rcp and the old scp.
    Scp,
}

impl SshCommunicator {
    /// Tells whether a POSIX shell runs commands; asked once, and only when something failed without one.
    pub(super) async fn has_shell(&self) -> Result<bool> {
        let probe = async {
            let word = word();
            let mut output = Output::answer();
            let line = scripts::line(scripts::PROBE, &[&word]);
            match self.run(line, Input::Bytes(Default::default()), &mut output).await {
                Ok(status) => Ok(status == ExitStatus::Code(0) && output.says(&word)),
                Err(error) if error.kind() == Kind::Unsupported => Ok(false),
                Err(error) => Err(error),
            }
        };
        self.shell.get_or_try_init(|| probe).await.copied()
    }

    /// Tells whether a failure of the shell's way means that there is no shell, so that another way is to be tried.
    pub(super) async fn wants_another_way(&self, error: &Error) -> bool {
        matches!(error.kind(), Kind::Unsupported | Kind::Io) && !self.has_shell().await.unwrap_or(true)
    }
}

/// Returns a word that nobody else says.
pub(super) fn word() -> String {
    format!("rimg-{}", uuid::Uuid::new_v4().simple())
}

/// Returns the name of a file that is not whole yet. Attempts at one transfer share it, so that a later one takes over
/// what an earlier one had to leave behind.
pub(super) fn temporary_name(transfer: Option<u64>) -> String {
    let number = transfer.unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0);
    format!(".rimg-{number:016x}")
}

/// Turns the failed program of a transfer into an error with its own words.
pub(super) fn accept(status: ExitStatus, output: &Output<'_>, what: impl FnOnce() -> String) -> Result<()> {
    if status == ExitStatus::Code(0) {
        return Ok(());
    }
    let said = output.errors();
    let said = if said.is_empty() { format!("{status:?}") } else { said };
    // POSIX shells say 127 for a program that is not there, Windows says it in words.
    let missing = status == ExitStatus::Code(127) || said.contains("is not recognized");
    let kind = if missing { Kind::Unsupported } else { Kind::Io };
    let error = Error::new(kind, format!("{} on the machine: {said}", what()));
    Err(if missing { error.hint("this needs sh, cat and tar on the machine") } else { hinted(error, &said) })
}

/// Adds what to do about the words of a failed program.
pub(super) fn hinted(error: Error, said: &str) -> Error {
    // The last is what GNU tar says of a full disk.
    if ["No space left", "quota", "Wrote only"].iter().any(|words| said.contains(words)) {
        error.hint("the machine's disk is full: give it a larger disk_size")
    } else if said.contains("ermission denied") {
        error.hint("the login user may not do that: with { sudo = true } it is done as root")
    } else {
        error
    }
}
