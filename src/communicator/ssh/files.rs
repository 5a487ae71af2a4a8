//! Files and folders to and from the machine.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::super::pipe::{self, Piece};
use super::super::tree;
use super::channel::{Input, Output, first_cause};
use super::session::SshCommunicator;
use super::sftp::Sftp;
use crate::engine::{ExitStatus, FileMeta, quote};
use crate::error::{Error, Kind, Result, io_error};
use crate::host::atomic::Pending;
use crate::ui::event::Counter;

/// The size of the pieces a local file is read in.
const PIECE: usize = 255 << 10;
/// From this size on a file goes through the shell's `cat`, which was measured to take two thirds of the time of SFTP
/// with a full pipe: nobody answers block by block. Smaller ones save the start of a shell.
const STREAM_FROM: u64 = 32 << 20;
const DEFAULT_MODE: u32 = 0o644;

/// Returns a path as the login's home folder sees it: neither SFTP nor a quoted word knows `~`.
fn home_relative(path: &str) -> &str {
    match path.strip_prefix("~/") {
        Some("") => ".",
        Some(rest) => rest,
        None if path == "~" => ".",
        None => path,
    }
}

/// Quotes a path for the remote shell, so that no program takes it for an option.
fn operand(path: &str) -> String {
    let path = home_relative(path);
    if path.starts_with('-') { quote::word(&format!("./{path}")) } else { quote::word(path) }
}

fn interrupted(error: tokio::task::JoinError) -> Error {
    Error::new(Kind::Internal, "a file transfer was interrupted").caused_by(error)
}

/// What is to become a remote file; it can be read more than once.
enum Content<'a> {
    File(&'a Path, u64),
    Bytes(Bytes),
}

impl Content<'_> {
    fn size(&self) -> u64 {
        match self {
            Content::File(_, size) => *size,
            Content::Bytes(bytes) => bytes.len() as u64,
        }
    }

    /// Starts to read it; the task's result says whether all of it was read.
    fn read(&self) -> (mpsc::Receiver<Bytes>, JoinHandle<Result<u64>>) {
        match self {
            Content::File(path, _) => read_file(path.to_path_buf()),
            Content::Bytes(bytes) => {
                let (sender, pieces) = mpsc::channel(1);
                let bytes = bytes.clone();
                let producer = tokio::spawn(async move {
                    let length = bytes.len() as u64;
                    if length > 0 {
                        let _ = sender.send(bytes).await;
                    }
                    Ok(length)
                });
                (pieces, producer)
            }
        }
    }
}

/// Reads a file on the blocking pool.
fn read_file(path: PathBuf) -> (mpsc::Receiver<Bytes>, JoinHandle<Result<u64>>) {
    let (mut writer, pieces) = pipe::outgoing();
    let producer = tokio::task::spawn_blocking(move || {
        let failed = |e| io_error("read", &path, e);
        let mut file = std::fs::File::open(&path).map_err(failed)?;
        let mut total = 0;
        loop {
            let mut piece = BytesMut::zeroed(PIECE);
            let mut filled = 0;
            while filled < PIECE {
                match file.read(piece.get_mut(filled..).unwrap_or_default()) {
                    Ok(0) => break,
                    Ok(count) => filled += count,
                    Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(e) => return Err(failed(e)),
                }
            }
            if filled == 0 {
                return Ok(total);
            }
            piece.truncate(filled);
            total += filled as u64;
            writer.send(piece.freeze()).map_err(failed)?;
        }
    });
    (pieces, producer)
}

/// Writes what comes through a pipe to a file that appears when the end was said.
fn write_file(path: &Path) -> (mpsc::Sender<Piece>, JoinHandle<Result<()>>) {
    let (sender, mut reader) = pipe::incoming();
    let path = path.to_owned();
    let consumer = tokio::task::spawn_blocking(move || {
        // Made here, so that it is also removed here: after the last write, whatever became of the download.
        let pending = Pending::beside(&path)?;
        let failed = |e| io_error("write", pending.path(), e);
        let mut file = std::fs::File::create(pending.path()).map_err(failed)?;
        while let Some(piece) = reader.piece().map_err(failed)? {
            std::io::Write::write_all(&mut file, &piece).map_err(failed)?;
        }
        drop(file);
        pending.commit().map(drop)
    });
    (sender, consumer)
}

impl SshCommunicator {
    pub(super) async fn upload_file(&self, path: &Path, to: &str, meta: FileMeta, counter: &Counter) -> Result<u64> {
        let found = tokio::fs::metadata(path).await.map_err(|e| io_error("read", path, e))?;
        if found.is_dir() {
            return Err(Error::new(Kind::Io, format!("{} is a folder, not a file", path.display())));
        }
        let to = match (to.ends_with('/'), path.file_name()) {
            (true, Some(name)) => format!("{to}{}", name.to_string_lossy()),
            _ => to.to_owned(),
        };
        let mode = meta.mode.unwrap_or(found.permissions().mode() & 0o7777);
        self.upload_content(Content::File(path, found.len()), &to, mode, counter).await
    }

    pub(super) async fn upload_bytes(&self, bytes: &[u8], to: &str, meta: FileMeta, counter: &Counter) -> Result<u64> {
        let content = Content::Bytes(Bytes::copy_from_slice(bytes));
        self.upload_content(content, to, meta.mode.unwrap_or(DEFAULT_MODE), counter).await
    }

    /// Sends a file by the faster way, or by the other where the server has only that.
    async fn upload_content(&self, content: Content<'_>, to: &str, mode: u32, counter: &Counter) -> Result<u64> {
        if content.size() < STREAM_FROM
            && let Some(sftp) = self.sftp().await?
        {
            return self.upload_by_sftp(&sftp, &content, to, mode, counter).await;
        }
        match self.upload_by_shell(&content, to, mode, counter).await {
            Err(error) if error.kind() == Kind::Unsupported => match self.sftp().await? {
                Some(sftp) => self.upload_by_sftp(&sftp, &content, to, mode, counter).await,
                None => Err(error),
            },
            result => result,
        }
    }

    async fn upload_by_sftp(
        &self,
        sftp: &Sftp,
        content: &Content<'_>,
        to: &str,
        mode: u32,
        counter: &Counter,
    ) -> Result<u64> {
        let (mut pieces, producer) = content.read();
        let written = self.alive(async { Ok(sftp.write(home_relative(to), mode, &mut pieces, counter).await) }).await;
        // A producer whose receiver goes away first has nothing to say.
        drop(pieces);
        let read = producer.await.map_err(interrupted)?;
        match written? {
            Ok(_) => read,
            Err(error) => {
                self.forget_sftp(&error).await;
                Err(self.sftp_error(format!("cannot write {to}"), error))
            }
        }
    }

    async fn upload_by_shell(&self, content: &Content<'_>, to: &str, mode: u32, counter: &Counter) -> Result<u64> {
        let path = operand(to);
        // Private until it is whole.
        let script = format!("umask 077; cat > {path} && chmod {mode:o} {path}");
        let line = format!("sh -c {}", quote::word(&script));
        let mut output = Output::Errors(Vec::new());
        let before = counter.get();
        let (pieces, producer) = content.read();
        let input = Input::Pipe { pieces, producer, counter: Some(counter.clone()) };
        let status = self.run(line, input, &mut output).await?;
        accept(status, &output, || format!("cannot write {to}"))?;
        Ok(counter.get() - before)
    }

    pub(super) async fn upload_tree(&self, dir: &Path, to: &str, counter: &Counter) -> Result<u64> {
        let found = tokio::fs::metadata(dir).await.map_err(|e| io_error("read", dir, e))?;
        if !found.is_dir() {
            return Err(Error::new(Kind::Io, format!("{} is a file, not a folder", dir.display())));
        }
        let (writer, pieces) = pipe::outgoing();
        let (dir, counted) = (dir.to_owned(), counter.clone());
        let before = counter.get();
        let producer = tokio::task::spawn_blocking(move || tree::pack(&dir, writer, &counted));
        let path = operand(to);
        // Not the owner: this host's users are not the machine's.
        let script = format!("mkdir -p {path} && tar -xpof - -C {path}");
        let line = format!("sh -c {}", quote::word(&script));
        let mut output = Output::Errors(Vec::new());
        let input = Input::Pipe { pieces, producer, counter: None };
        let status = self.run(line, input, &mut output).await?;
        accept(status, &output, || format!("cannot unpack the folder into {to}"))?;
        Ok(counter.get() - before)
    }

    pub(super) async fn download_file(&self, from: &str, to: &Path, counter: &Counter) -> Result<u64> {
        let (sender, consumer) = write_file(to);
        let received = self.receive_pieces(from, &sender, counter).await;
        if received.is_ok() {
            let _ = sender.send(Piece::End).await;
        }
        drop(sender);
        let written = consumer.await.map_err(interrupted)?;
        first_cause(received, written).map(|(received, ())| received)
    }

    pub(super) async fn download_bytes(&self, from: &str, into: &mut Vec<u8>, counter: &Counter) -> Result<u64> {
        let line = format!("cat {}", operand(from));
        let mut output = Output::Memory { stdout: into, stderr: Vec::new(), counter: Some(counter.clone()) };
        let status = self.run(line, Input::Bytes(Bytes::new()), &mut output).await?;
        accept(status, &output, || format!("cannot read {from}"))?;
        Ok(into.len() as u64)
    }

    async fn receive_pieces(&self, from: &str, sender: &mpsc::Sender<Piece>, counter: &Counter) -> Result<u64> {
        let Some(sftp) = self.sftp().await? else { return self.receive_by_shell(from, sender, counter).await };
        let failed = async |error| {
            self.forget_sftp(&error).await;
            Err(self.sftp_error(format!("cannot read {from}"), error))
        };
        let size = match self.alive(async { Ok(sftp.size(home_relative(from)).await) }).await? {
            Ok(size) => size,
            Err(error) => return failed(error).await,
        };
        if size >= STREAM_FROM {
            match self.receive_by_shell(from, sender, counter).await {
                Err(error) if error.kind() == Kind::Unsupported => {}
                result => return result,
            }
        }
        match self.alive(async { Ok(sftp.read(home_relative(from), size, sender, counter).await) }).await? {
            Ok(received) => Ok(received),
            Err(error) => failed(error).await,
        }
    }

    async fn receive_by_shell(&self, from: &str, sender: &mpsc::Sender<Piece>, counter: &Counter) -> Result<u64> {
        let before = counter.get();
        let line = format!("cat {}", operand(from));
        let mut output = Output::Pipe { pieces: sender.clone(), stderr: Vec::new(), counter: Some(counter.clone()) };
        let status = self.run(line, Input::Bytes(Bytes::new()), &mut output).await?;
        accept(status, &output, || format!("cannot read {from}"))?;
        Ok(counter.get() - before)
    }

    pub(super) async fn download_tree(&self, from: &str, to: &Path, counter: &Counter) -> Result<u64> {
        let (sender, mut reader) = pipe::incoming();
        let (target, counted): (PathBuf, _) = (to.to_owned(), counter.clone());
        let consumer = tokio::task::spawn_blocking(move || tree::unpack(&mut reader, &target, &counted));
        let line = format!("tar -cf - -C {} .", operand(from));
        let mut output = Output::Pipe { pieces: sender.clone(), stderr: Vec::new(), counter: None };
        let received = match self.run(line, Input::Bytes(Bytes::new()), &mut output).await {
            Ok(status) => accept(status, &output, || format!("cannot pack the folder {from}")),
            Err(error) => Err(error),
        };
        drop(output);
        if received.is_ok() {
            let _ = sender.send(Piece::End).await;
        }
        drop(sender);
        let unpacked = consumer.await.map_err(interrupted)?;
        first_cause(received, unpacked).map(|((), unpacked)| unpacked)
    }
}

/// Turns the failed helper command of a transfer into an error with its own words.
fn accept(status: ExitStatus, output: &Output<'_>, what: impl FnOnce() -> String) -> Result<()> {
    if status == ExitStatus::Code(0) {
        return Ok(());
    }
    let said = output.errors();
    let said = if said.is_empty() { format!("{status:?}") } else { said };
    // POSIX shells say 127 for a program that is not there, Windows says it in words.
    let missing = status == ExitStatus::Code(127) || said.contains("is not recognized");
    let kind = if missing { Kind::Unsupported } else { Kind::Io };
    let error = Error::new(kind, format!("{} on the machine: {said}", what()));
    Err(if missing {
        error.hint("this needs sh, cat and tar on the machine")
    } else if said.contains("No space left") {
        error.hint("the machine's disk is full: give it a larger disk_size")
    } else if said.contains("ermission denied") {
        error.hint("the login user may not do that: upload to /tmp and move it with sudo")
    } else {
        error
    })
}
