//! A program of this host, run to its end: its input goes in while its output is shown.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::linger::Linger;
use crate::engine::{ExitStatus, OutputSink};
use crate::error::{Error, Kind, Result};
use crate::host::process::{self, Process};

/// What a program reads.
pub(super) enum Input<'a> {
    Nothing,
    Bytes(&'a [u8]),
    /// Pieces, up to the end of them.
    Pieces(mpsc::Receiver<Bytes>),
}

/// Runs a program in a process group of its own. Dropping the future ends it.
pub(super) async fn run(
    program: &mut tokio::process::Command,
    input: Input<'_>,
    out: &mut dyn OutputSink,
) -> Result<ExitStatus> {
    program.stdin(if matches!(input, Input::Nothing) { Stdio::null() } else { Stdio::piped() });
    let mut process = Process::spawn(program.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let child = process.child();
    let (mut stdout, mut stderr, stdin) = (child.stdout.take(), child.stderr.take(), child.stdin.take());
    let feed = async {
        let Some(mut pipe) = stdin else { return };
        // A program that does not read its input is no error.
        match input {
            Input::Nothing => {}
            Input::Bytes(bytes) => drop(pipe.write_all(bytes).await),
            Input::Pieces(mut pieces) => {
                while let Some(piece) = pieces.recv().await {
                    if pipe.write_all(&piece).await.is_err() {
                        break;
                    }
                }
            }
        }
        let _ = pipe.shutdown().await;
    };
    tokio::pin!(feed);
    let (mut fed, mut status) = (false, None);
    let mut linger = Linger::default();
    let (mut out_buffer, mut err_buffer) = (Vec::new(), Vec::new());
    while stdout.is_some() || stderr.is_some() || status.is_none() {
        tokio::select! {
            () = &mut feed, if !fed => fed = true,
            more = read_some(&mut stdout, &mut out_buffer) => if more? {
                linger.took(out_buffer.len());
                out.stdout(&out_buffer);
                out.room().await;
            },
            more = read_some(&mut stderr, &mut err_buffer) => if more? {
                linger.took(err_buffer.len());
                out.stderr(&err_buffer);
                out.room().await;
            },
            ended = process.wait(), if status.is_none() => {
                let ended = ended.map_err(|e| Error::new(Kind::Host, "cannot wait for a command").caused_by(e))?;
                status = Some(ended);
                linger.begin();
            }
            () = linger.silence() => break,
        }
        if linger.is_over() {
            break;
        }
    }
    let Some(status) = status else { return Err(Error::new(Kind::Internal, "a command ended without a status")) };
    Ok(exit_status(status))
}

async fn read_some(pipe: &mut Option<impl AsyncRead + Unpin>, buffer: &mut Vec<u8>) -> Result<bool> {
    let Some(stream) = pipe else { return std::future::pending().await };
    buffer.clear();
    buffer.reserve(64 << 10);
    match stream.read_buf(buffer).await {
        Ok(0) => {
            *pipe = None;
            Ok(false)
        }
        Ok(_) => Ok(true),
        Err(e) => Err(Error::new(Kind::Host, "cannot read a command's output").caused_by(e)),
    }
}

/// Returns how a program ended.
pub(super) fn exit_status(status: std::process::ExitStatus) -> ExitStatus {
    match (status.code(), status.signal()) {
        (Some(code), _) => ExitStatus::Code(code),
        (None, signal) => ExitStatus::Signal(process::signal_name(signal.unwrap_or_default())),
    }
}

/// Lets a person at the terminal use a program, which is in the terminal's own process group: it reads what is typed.
pub(super) async fn interact(program: &mut tokio::process::Command) -> Result<ExitStatus> {
    let failed = |e| Error::new(Kind::Host, "cannot run a shell").caused_by(e);
    let status = program.kill_on_drop(true).spawn().map_err(failed)?.wait().await.map_err(failed)?;
    Ok(exit_status(status))
}
