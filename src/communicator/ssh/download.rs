//! Files and folders from the machine.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::super::pipe::{self, Piece};
use super::super::{scripts, tree};
use super::channel::{Input, Output, first_cause};
use super::content::{header, interrupted, write_file};
use super::method::{FileTransferMethod, accept, word};
use super::session::SshCommunicator;
use super::sftp::{Sftp, home_relative};
use super::upload::{STREAM_FROM, no_sftp, operand};
use crate::engine::communicator::{BYTES_LIMIT, too_large};
use crate::engine::{BuildCx, ExitStatus};
use crate::error::{Kind, Result};
use crate::host::atomic::Pending;
use crate::host::dirs;
use crate::ui::event::Counter;

impl SshCommunicator {
    pub(super) async fn download_file(&self, from: &str, to: &Path, counter: &Counter) -> Result<u64> {
        match self.method {
            Some(FileTransferMethod::Sftp) => {
                let sftp = self.sftp().await?.ok_or_else(no_sftp)?;
                let size = self.size_by_sftp(&sftp, from).await?;
                return self.download_by_sftp(&sftp, from, size, to, counter).await;
            }
            Some(FileTransferMethod::Scp) => return self.download_by_scp(from, to, counter).await,
            None => {}
        }
        let sftp = self.sftp().await?;
        let size = match &sftp {
            Some(sftp) => Some(self.size_by_sftp(sftp, from).await?),
            None => None,
        };
        if let (Some(sftp), Some(size)) = (&sftp, size.filter(|&size| size < STREAM_FROM)) {
            return self.download_by_sftp(sftp, from, size, to, counter).await;
        }
        match self.download_by_shell(from, to, counter).await {
            Err(error) if self.wants_another_way(&error).await => match (&sftp, size) {
                (Some(sftp), Some(size)) => self.download_by_sftp(sftp, from, size, to, counter).await,
                _ => self.download_by_scp(from, to, counter).await,
            },
            result => result,
        }
    }

    async fn size_by_sftp(&self, sftp: &Sftp, from: &str) -> Result<u64> {
        match self.with_sftp(sftp, sftp.size(home_relative(from))).await? {
            Ok(size) => Ok(size),
            Err(failure) => Err(self.sftp_error(format!("cannot read {from}"), failure).await),
        }
    }

    async fn download_by_sftp(&self, sftp: &Sftp, from: &str, size: u64, to: &Path, counter: &Counter) -> Result<u64> {
        let (sender, consumer) = write_file(to, None, &Counter::default());
        let read = self.with_sftp(sftp, sftp.read(home_relative(from), size, &sender, counter)).await;
        let read = match read {
            Ok(Ok(received)) => Ok(received),
            Ok(Err(failure)) => Err(self.sftp_error(format!("cannot read {from}"), failure).await),
            Err(error) => Err(error),
        };
        conclude(read, sender, consumer).await.map(|(received, _)| received)
    }

    async fn download_by_shell(&self, from: &str, to: &Path, counter: &Counter) -> Result<u64> {
        let word = word();
        let line = scripts::line(scripts::SEND, &[&operand(from), &word]);
        let (sender, consumer) = write_file(to, Some(word), counter);
        let mut output = Output::Pipe { pieces: sender.clone(), stderr: Vec::new(), counter: None };
        let received = match self.run(line, Input::Bytes(Bytes::new()), &mut output).await {
            Ok(status) => accept(status, &output, || format!("cannot read {from}")),
            Err(error) => Err(error),
        };
        drop(output);
        conclude(received, sender, consumer).await.map(|((), size)| size)
    }

    pub(super) async fn download_bytes(&self, from: &str, into: &mut Vec<u8>, counter: &Counter) -> Result<u64> {
        if self.method.is_some() {
            return self.download_bytes_by_file(from, into, counter).await;
        }
        let (word, before) = (word(), counter.get());
        let line = scripts::line(r#"exec 3<"$1"||exit 1;printf '%s\n' "$2";exec cat <&3"#, &[&operand(from), &word]);
        let mut received = Vec::new();
        let mut output =
            Output::Memory { stdout: &mut received, path: from, stderr: Vec::new(), counter: Some(counter.clone()) };
        let result = match self.run(line, Input::Bytes(Bytes::new()), &mut output).await {
            Ok(status) => accept(status, &output, || format!("cannot read {from}")),
            Err(error) => Err(error),
        };
        let begins = format!("{word}\n");
        let start = received.windows(begins.len()).position(|window| window == begins.as_bytes());
        let result = match (result, start) {
            (Ok(()), None) => Err(super::content::no_shell()),
            (result, _) => result,
        };
        match result {
            Err(error) if self.wants_another_way(&error).await => {
                self.download_bytes_by_file(from, into, counter).await
            }
            Err(error) => Err(error),
            Ok(()) => {
                let content = received.split_off(start.unwrap_or(0) + begins.len());
                counter.set(before + content.len() as u64);
                *into = content;
                Ok(into.len() as u64)
            }
        }
    }

    /// Receives bytes by the ways that files have.
    async fn download_bytes_by_file(&self, from: &str, into: &mut Vec<u8>, counter: &Counter) -> Result<u64> {
        let failed = |e| crate::error::Error::new(Kind::Io, "cannot make a temporary file").caused_by(e);
        // With the run's id in its name, by which a killed run's is found.
        let folder = Pending::beside(&std::env::temp_dir().join("content"))?;
        let path = dirs::private(folder.path())?.join("content");
        Box::pin(self.download_file(from, &path, counter)).await?;
        if tokio::fs::metadata(&path).await.map_err(failed)?.len() > BYTES_LIMIT {
            return Err(too_large(from));
        }
        *into = tokio::fs::read(&path).await.map_err(failed)?;
        Ok(into.len() as u64)
    }

    pub(super) async fn download_tree(&self, from: &str, to: &Path, counter: &Counter) -> Result<u64> {
        match self.download_tree_by_tar(from, to, counter).await {
            Err(error) if self.wants_another_way(&error).await => match self.sftp().await? {
                Some(sftp) => self.download_tree_by_sftp(&sftp, from, to, counter).await,
                None => self.download_tree_by_scp(from, to, counter).await,
            },
            result => result,
        }
    }

    async fn download_tree_by_tar(&self, from: &str, to: &Path, counter: &Counter) -> Result<u64> {
        let word = word();
        let line = scripts::line(scripts::SEND_TREE, &[&operand(from), &word]);
        let (sender, mut reader) = pipe::incoming();
        let (target, counted): (PathBuf, _) = (to.to_owned(), counter.clone());
        let consumer = tokio::task::spawn_blocking(move || {
            header(&mut reader, &word)?;
            tree::unpack(&mut reader, &target, &counted)
        });
        let mut output = Output::Pipe { pieces: sender.clone(), stderr: Vec::new(), counter: None };
        let received = match self.run(line, Input::Bytes(Bytes::new()), &mut output).await {
            Ok(status) => accept_changes(status, &output, from),
            Err(error) => Err(error),
        };
        drop(output);
        let ((), unpacked) = conclude(received, sender, consumer).await?;
        for path in &unpacked.special {
            warn(format!("left out of the download: {} (no file, folder or link)", path.display()));
        }
        Ok(unpacked.bytes)
    }
}

/// Says the end to the writer of what was received, and waits for it.
async fn conclude<A, B>(
    received: Result<A>,
    sender: mpsc::Sender<Piece>,
    consumer: tokio::task::JoinHandle<Result<B>>,
) -> Result<(A, B)> {
    if received.is_ok() {
        let _ = sender.send(Piece::End).await;
    }
    drop(sender);
    let written = consumer.await.map_err(interrupted)?;
    first_cause(received, written)
}

/// Takes a tar for whole where files only changed or went away while it was made, as logs do.
fn accept_changes(status: ExitStatus, output: &Output<'_>, from: &str) -> Result<()> {
    let said = output.errors();
    let change =
        |line: &str| line.ends_with("file changed as we read it") || line.ends_with("File removed before we read it");
    if status == ExitStatus::Code(1) && !said.is_empty() && said.lines().all(change) {
        said.lines().for_each(|line| warn(format!("download of {from}: {line}")));
        return Ok(());
    }
    accept(status, output, || format!("cannot pack the folder {from}"))
}

/// Warns in the build that the transfer is for.
pub(super) fn warn(text: String) {
    match BuildCx::current() {
        Some(cx) => cx.ui.warn(text),
        None => tracing::warn!("{text}"),
    }
}
