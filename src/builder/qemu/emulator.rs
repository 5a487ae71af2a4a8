//! One QEMU process: started, heard over QMP, its last words kept.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::sync::broadcast;
use tokio_util::task::AbortOnDropHandle;

use super::qmp::{Event, Qmp};
use super::tpm::Tpm;
use crate::error::{Context, Error, Kind, Result};
use crate::host::process::Process;

const START_LIMIT: Duration = Duration::from_secs(30);
const KEPT_LINES: usize = 20;
/// A longer line is kept as several.
const LONGEST_LINE: u64 = 4 << 10;

/// Collects the last lines of a program's output.
#[derive(Clone, Default)]
struct Words(Arc<Mutex<VecDeque<String>>>);

impl Words {
    async fn collect(self, pipe: impl AsyncRead + Unpin) {
        let mut reader = BufReader::new(pipe);
        loop {
            let mut line = Vec::new();
            if !matches!((&mut reader).take(LONGEST_LINE).read_until(b'\n', &mut line).await, Ok(1..)) {
                break;
            }
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            kept.push_back(line);
            if kept.len() > KEPT_LINES {
                kept.pop_front();
            }
        }
    }

    fn said(&self) -> String {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().cloned().collect::<Vec<_>>().join("\n")
    }
}

/// A QEMU that runs; dropping it kills it.
pub struct Emulator {
    process: Process,
    pub qmp: Qmp,
    words: Words,
    reader: AbortOnDropHandle<()>,
    tpm: Option<Tpm>,
}

impl Emulator {
    /// Starts QEMU with its processors stopped, and waits until it answers on its control
    /// connection. Returns the events to come as well. With `tpm_dir`, the machine's folder, a TPM runs beside it.
    pub async fn start(
        binary: &Path,
        arguments: &[OsString],
        tpm_dir: Option<&Path>,
    ) -> Result<(Emulator, broadcast::Receiver<Event>)> {
        let cannot = "cannot make a socket for QEMU";
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().context(Kind::Host, cannot)?;
        ours.set_nonblocking(true).context(Kind::Host, cannot)?;
        let ours = UnixStream::from_std(ours).context(Kind::Host, cannot)?;
        tracing::debug!(binary = %binary.display(), ?arguments, "starting QEMU");
        let mut command = Command::new(binary);
        command.args(arguments).stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null()).stderr(Stdio::piped());
        // Sockets come as standard input and output: nothing else of ours is passed on, and no path can be too long.
        let tpm = match tpm_dir.map(Tpm::start).transpose()? {
            None => None,
            Some((tpm, socket)) => {
                command.stdout(Stdio::from(socket));
                Some(tpm)
            }
        };
        let mut process = Process::spawn(&mut command)?;
        // The command keeps its end of the socket pair open; QEMU's exit must be seen as the end of the connection.
        drop(command);
        let words = Words::default();
        let reader = match process.child().stderr.take() {
            Some(pipe) => tokio::spawn(words.clone().collect(pipe)),
            None => tokio::spawn(async {}),
        };
        let reader = AbortOnDropHandle::new(reader);
        let opened = tokio::select! {
            opened = tokio::time::timeout(START_LIMIT, Qmp::open_socket(ours)) => match opened {
                Ok(opened) => opened.map(Some),
                Err(_) => Err(Error::new(Kind::Machine, format!("QEMU did not answer within {START_LIMIT:?} of its start"))),
            },
            _ = process.wait() => Ok(None),
        };
        match opened {
            Ok(Some((qmp, events))) => Ok((Emulator { process, qmp, words, reader, tpm }, events)),
            Ok(None) | Err(_) => {
                // What it said explains more than that its connection broke.
                process.end(Duration::from_millis(200)).await;
                if let Some(mut tpm) = tpm {
                    tpm.end().await;
                }
                let _ = tokio::time::timeout(Duration::from_millis(500), reader).await;
                let said = words.said();
                let error = match (opened, said.is_empty()) {
                    (Err(error), true) => error,
                    (_, true) => Error::new(Kind::Machine, "QEMU ended at once, without a word"),
                    (_, false) => Error::new(Kind::Machine, format!("QEMU does not start: {said}")),
                };
                Err(error.field("stderr", said))
            }
        }
    }

    /// Lets the processors run.
    pub async fn run(&self) -> Result<()> {
        self.qmp.execute("cont", serde_json::Value::Null).await.map(drop)
    }

    pub fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// Returns the processes that the machine is.
    pub fn ids(&self) -> impl Iterator<Item = u32> {
        self.process.id().into_iter().chain(self.tpm.as_ref().and_then(Tpm::id))
    }

    /// Waits for QEMU's end. May be dropped and called again.
    pub async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        let status = self.process.wait().await?;
        // Its last words are on their way; a task that has ended must not be polled again.
        if !self.reader.is_finished() {
            let _ = tokio::time::timeout(Duration::from_millis(300), &mut self.reader).await;
        }
        Ok(status)
    }

    /// Returns the last lines it wrote to its standard error.
    pub fn said(&self) -> String {
        self.words.said()
    }

    /// Lets go of QEMU: it goes on when this process has ended, and nobody hears its words any more.
    pub fn leave(self) {
        self.process.leave();
        if let Some(tpm) = self.tpm {
            tpm.leave();
        }
    }

    /// Ends QEMU and waits for it.
    pub async fn end(&mut self) {
        self.process.end(Duration::from_secs(3)).await;
        if let Some(tpm) = &mut self.tpm {
            tpm.end().await;
        }
        self.reader.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn last_words_are_kept_whatever_came_before_them() {
        let words = Words::default();
        let flood = [vec![b'x'; 1 << 20], b"\n\xff\xfe not UTF-8\nlast\n".to_vec()].concat();
        words.clone().collect(&flood[..]).await;
        assert!(words.said().ends_with("\n\u{fffd}\u{fffd} not UTF-8\nlast"), "{}", words.said());
        assert!(words.said().len() <= KEPT_LINES * LONGEST_LINE as usize);
    }
}
