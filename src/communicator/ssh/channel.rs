//! One command on one channel: input sent while output is received.

use bytes::Bytes;
use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::super::linger::Linger;
use super::super::pipe::Piece;
use super::orphans::Orphans;
use super::pty::Setting;
use super::session::SshCommunicator;
use crate::engine::communicator::{BYTES_LIMIT, too_large};
use crate::engine::{ExitStatus, OutputSink};
use crate::error::{Error, Kind, Result};
use crate::ui::event::Counter;

/// A command's standard input.
pub(super) enum Input {
    Bytes(Bytes),
    /// Bytes for a terminal, the end of input among them: closing a terminal would end the command.
    Typed(Bytes),
    /// Pieces from a blocking producer, whose result decides whether the end of them is the end of the input.
    Pipe {
        pieces: mpsc::Receiver<Bytes>,
        producer: JoinHandle<Result<u64>>,
        counter: Option<Counter>,
    },
}

/// Where a command's output goes.
pub(super) enum Output<'a> {
    Sink(&'a mut dyn OutputSink),
    /// Standard output with back-pressure, the beginning of standard error kept.
    Pipe {
        pieces: mpsc::Sender<Piece>,
        stderr: Vec<u8>,
        counter: Option<Counter>,
    },
    /// Standard output in memory: what is at a path.
    Memory {
        stdout: &'a mut Vec<u8>,
        path: &'a str,
        stderr: Vec<u8>,
        counter: Option<Counter>,
    },
    /// Only the beginning of both.
    Answer {
        stdout: Vec<u8>,
        stderr: Vec<u8>,
    },
}

/// How much is kept of what a transfer's program says.
const KEPT: usize = 64 << 10;

fn keep(kept: &mut Vec<u8>, data: &[u8]) {
    let room = KEPT.saturating_sub(kept.len()).min(data.len());
    kept.extend_from_slice(data.get(..room).unwrap_or_default());
}

impl Output<'_> {
    async fn stdout(&mut self, data: Bytes) -> Result<()> {
        let length = data.len() as u64;
        match self {
            Output::Sink(sink) => {
                sink.stdout(&data);
                sink.room().await;
            }
            Output::Pipe { pieces, counter, .. } => {
                if pieces.send(Piece::Data(data)).await.is_err() {
                    return Err(reader_gone());
                }
                counter.iter().for_each(|c| c.add(length));
            }
            Output::Memory { stdout, path, counter, .. } => {
                if stdout.len() as u64 + length > BYTES_LIMIT {
                    return Err(too_large(path));
                }
                stdout.extend_from_slice(&data);
                counter.iter().for_each(|c| c.add(length));
            }
            Output::Answer { stdout, .. } => keep(stdout, &data),
        }
        Ok(())
    }

    async fn stderr(&mut self, data: &[u8]) {
        match self {
            Output::Sink(sink) => {
                sink.stderr(data);
                sink.room().await;
            }
            Output::Pipe { stderr, .. } | Output::Memory { stderr, .. } | Output::Answer { stderr, .. } => {
                keep(stderr, data)
            }
        }
    }

    /// Returns one that keeps the beginning of what is said.
    pub(super) fn answer() -> Output<'static> {
        Output::Answer { stdout: Vec::new(), stderr: Vec::new() }
    }

    /// Tells whether the answer on standard output holds a word.
    pub(super) fn says(&self, word: &str) -> bool {
        match self {
            Output::Answer { stdout, .. } => String::from_utf8_lossy(stdout).contains(word),
            _ => false,
        }
    }

    /// Returns the beginning of standard error, where it was kept.
    pub(super) fn errors(&self) -> String {
        match self {
            Output::Sink(_) => String::new(),
            Output::Pipe { stderr, .. } | Output::Memory { stderr, .. } | Output::Answer { stderr, .. } => {
                String::from_utf8_lossy(stderr).trim().to_owned()
            }
        }
    }
}

/// Marks the error of a transfer whose blocking reader ended first; the reader's own error says why.
const READER_GONE: &str = "reader_gone";

pub(super) fn reader_gone() -> Error {
    Error::new(Kind::Io, "what was received could not be written").field(READER_GONE, true)
}

/// Returns the cause when a transfer has an error on either side.
pub(super) fn first_cause<A, B>(transfer: Result<A>, reader: Result<B>) -> Result<(A, B)> {
    match (transfer, reader) {
        (Ok(sent), Ok(read)) => Ok((sent, read)),
        (Err(error), reader) if error.get(READER_GONE).is_none() => {
            tracing::debug!(reader = ?reader.err(), "the transfer failed");
            Err(error)
        }
        (_, Err(error)) | (Err(error), Ok(_)) => Err(error),
    }
}

/// Closes a channel that its future left behind, and ends the command.
struct Closing<'a>(Option<ChannelWriteHalf<Msg>>, &'a Orphans);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        if let Some(write) = self.0.take() {
            self.1.abandon(write);
        }
    }
}

impl SshCommunicator {
    /// Runs a shell line of our own to its end.
    pub(super) async fn run(&self, line: String, input: Input, output: &mut Output<'_>) -> Result<ExitStatus> {
        self.run_in(Setting::default(), line, input, output).await
    }

    /// Runs a shell line to its end, with a terminal or the agent where the setting says so.
    pub(super) async fn run_in(
        &self,
        setting: Setting,
        line: String,
        input: Input,
        output: &mut Output<'_>,
    ) -> Result<ExitStatus> {
        let (_permit, channel) = self.open_channel().await?;
        let (mut read, write) = channel.split();
        self.set_up(setting, &mut read, &write).await?;
        write.exec(true, line).await.map_err(|e| self.lost(e))?;
        let closing = Closing(Some(write), &self.orphans);
        let Some(write) = closing.0.as_ref() else { return Err(self.gone()) };
        let result = tokio::select! {
            biased;
            result = self.receive(&mut read, output) => result,
            error = self.send(write, input) => Err(error),
        };
        if result.is_ok() {
            // The command has ended; there is nothing left to be told to.
            let write = { closing }.0.take();
            if let Some(write) = write {
                let _ = write.close().await;
            }
        }
        result
    }

    /// Sends the input and its end; resolves only with an error of the producer's. What goes wrong on the connection is
    /// left to the receiving side, which knows more.
    async fn send(&self, write: &ChannelWriteHalf<Msg>, input: Input) -> Error {
        let sent = match input {
            Input::Typed(bytes) => {
                let _ = write.data_bytes(bytes).await;
                return std::future::pending().await;
            }
            Input::Bytes(bytes) => write.data_bytes(bytes).await,
            Input::Pipe { mut pieces, producer, counter } => {
                let mut sent = Ok(());
                while let Some(piece) = pieces.recv().await {
                    let length = piece.len() as u64;
                    sent = write.data_bytes(piece).await;
                    if sent.is_err() {
                        break;
                    }
                    counter.iter().for_each(|c| c.add(length));
                }
                drop(pieces);
                match producer.await {
                    Ok(Err(error)) if sent.is_ok() => return error,
                    Err(error) => return Error::new(Kind::Internal, "reading the upload failed").caused_by(error),
                    _ => {}
                }
                sent
            }
        };
        if sent.is_ok() {
            let _ = write.eof().await;
        }
        std::future::pending().await
    }

    async fn receive(&self, read: &mut ChannelReadHalf, output: &mut Output<'_>) -> Result<ExitStatus> {
        let (mut status, mut linger) = (None, Linger::default());
        let mut started = false;
        while !linger.is_over() {
            let message = tokio::select! {
                biased;
                message = read.wait() => message,
                () = linger.silence() => break,
                // A server says at once whether it runs the command, however long that takes then.
                () = tokio::time::sleep(self.limit), if !started => return Err(self.stalled("run a command")),
            };
            match message {
                Some(ChannelMsg::Data { data }) => {
                    linger.took(data.len());
                    output.stdout(data).await?;
                }
                Some(ChannelMsg::ExtendedData { data, ext: 1 }) => {
                    linger.took(data.len());
                    output.stderr(&data).await;
                }
                Some(ChannelMsg::ExitStatus { exit_status }) => {
                    status = Some(ExitStatus::Code(i32::try_from(exit_status).unwrap_or(i32::MAX)));
                    linger.begin();
                }
                Some(ChannelMsg::ExitSignal { signal_name, .. }) => {
                    status = Some(ExitStatus::Signal(signal_text(&signal_name)));
                    linger.begin();
                }
                Some(ChannelMsg::Failure) => {
                    return Err(Error::new(Kind::Unsupported, "the SSH server refuses to run commands")
                        .hint("the account may be limited to file transfers (ForceCommand, a restricted shell)"));
                }
                Some(ChannelMsg::Close) | None => break,
                // The window is for what is sent to the command; it says nothing of the command itself.
                Some(ChannelMsg::WindowAdjusted { .. }) => continue,
                Some(_) => {}
            }
            started = true;
        }
        status.ok_or_else(|| self.gone().within("the command's end was not seen"))
    }
}

pub(super) fn signal_text(signal: &Sig) -> String {
    match signal {
        Sig::Custom(name) => name.clone(),
        known => format!("{known:?}"),
    }
}
