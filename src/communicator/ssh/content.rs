//! This host's end of a transfer: files read in pieces, files written from pieces.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::super::pipe::{self, Piece, PipeReader};
use super::super::tree;
use crate::error::{Error, Kind, Result, io_error};
use crate::host::atomic::Pending;
use crate::host::sparse::{self, Extent};
use crate::ui::event::Counter;

/// The size of the pieces a local file is read in.
const PIECE: u64 = 255 << 10;
/// How much a login shell's start-up files may say before the answer begins.
const NOISE: u64 = 64 << 10;

/// A piece of a file and where it belongs.
pub(super) type Placed = (u64, Bytes);

/// What is to become a remote file; it can be read more than once.
pub(super) enum Content {
    File { path: PathBuf, size: u64, extents: Vec<Extent> },
    Bytes(Bytes),
}

impl Content {
    /// Looks at a file, and finds its holes.
    pub(super) async fn of_file(path: &Path) -> Result<(Content, std::fs::Metadata)> {
        let path = path.to_owned();
        let looked = tokio::task::spawn_blocking(move || {
            let failed = |e| io_error("read", &path, e);
            let meta = std::fs::metadata(&path).map_err(failed)?;
            if meta.is_dir() {
                return Err(Error::new(Kind::Io, format!("{} is a folder, not a file", path.display())));
            }
            let mut file = File::open(&path).map_err(failed)?;
            let size = meta.len();
            if size == 0 {
                // Empty, or one of those that do not say how much they hold (a pipe, /proc).
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes).map_err(failed)?;
                return Ok((Content::Bytes(bytes.into()), meta));
            }
            let extents = sparse::extents(&file, size);
            Ok((Content::File { path, size, extents }, meta))
        });
        looked.await.map_err(interrupted)?
    }

    pub(super) fn size(&self) -> u64 {
        match self {
            Content::File { size, .. } => *size,
            Content::Bytes(bytes) => bytes.len() as u64,
        }
    }

    pub(super) fn has_holes(&self) -> bool {
        match self {
            Content::File { size, extents, .. } => sparse::has_holes(extents, *size),
            Content::Bytes(_) => false,
        }
    }

    /// Starts to read all of it; the task's result says whether all of it was read.
    pub(super) fn read(&self) -> (mpsc::Receiver<Bytes>, JoinHandle<Result<u64>>) {
        let (mut writer, pieces) = pipe::outgoing();
        let whole = [Extent { offset: 0, length: self.size() }];
        (pieces, self.produce(whole.to_vec(), move |_, piece| writer.send(piece)))
    }

    /// Starts to read what of it is data.
    pub(super) fn read_data(&self) -> (mpsc::Receiver<Placed>, JoinHandle<Result<u64>>) {
        let (sender, pieces) = mpsc::channel(16);
        let extents = match self {
            Content::File { extents, .. } => extents.clone(),
            Content::Bytes(bytes) => vec![Extent { offset: 0, length: bytes.len() as u64 }],
        };
        let send = move |offset, piece| sender.blocking_send((offset, piece)).map_err(|_| broken());
        (pieces, self.produce(extents, send))
    }

    fn produce(
        &self,
        extents: Vec<Extent>,
        mut send: impl FnMut(u64, Bytes) -> io::Result<()> + Send + 'static,
    ) -> JoinHandle<Result<u64>> {
        match self {
            Content::Bytes(bytes) => {
                let bytes = bytes.clone();
                tokio::task::spawn_blocking(move || {
                    let length = bytes.len() as u64;
                    if length > 0 {
                        // A receiver that is gone knows why.
                        let _ = send(0, bytes);
                    }
                    Ok(length)
                })
            }
            Content::File { path, .. } => {
                let path = path.clone();
                tokio::task::spawn_blocking(move || {
                    read_extents(&path, &extents, send).map_err(|e| io_error("read", &path, e))
                })
            }
        }
    }
}

fn read_extents(
    path: &Path,
    extents: &[Extent],
    mut send: impl FnMut(u64, Bytes) -> io::Result<()>,
) -> io::Result<u64> {
    let mut file = File::open(path)?;
    let mut total = 0;
    for extent in extents {
        if extent.offset > 0 {
            file.seek(SeekFrom::Start(extent.offset))?;
        }
        let mut done = 0;
        while done < extent.length {
            let mut piece = BytesMut::zeroed((extent.length - done).min(PIECE) as usize);
            file.read_exact(&mut piece).map_err(|e| match e.kind() {
                io::ErrorKind::UnexpectedEof => io::Error::new(e.kind(), "the file was cut short while it was read"),
                _ => e,
            })?;
            let length = piece.len() as u64;
            send(extent.offset + done, piece.freeze())?;
            done += length;
        }
        total += done;
    }
    Ok(total)
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the transfer was broken off")
}

/// Makes the error for a blocking half of a transfer that ended without a result.
pub(super) fn interrupted(error: tokio::task::JoinError) -> Error {
    Error::new(Kind::Internal, "a file transfer was interrupted").caused_by(error)
}

/// Writes what comes through a pipe to a file that appears when the end was said; returns its size. With a word, what
/// comes is an answer of [`super::super::scripts::SEND`].
pub(super) fn write_file(
    path: &Path,
    word: Option<String>,
    counter: &Counter,
) -> (mpsc::Sender<Piece>, JoinHandle<Result<u64>>) {
    let (sender, mut reader) = pipe::incoming();
    let (path, counter) = (path.to_owned(), counter.clone());
    let consumer = tokio::task::spawn_blocking(move || {
        // Made here, so that it is also removed here: after the last write, whatever became of the download.
        let pending = Pending::beside(&path)?;
        let failed = |e| io_error("write", &path, e);
        let mut file = File::create(pending.path()).map_err(failed)?;
        let how = match &word {
            Some(word) => header(&mut reader, word)?,
            None => String::new(),
        };
        let size = if how == "tar" {
            let mut archive = tar::Archive::new(&mut reader);
            let mut entries = archive.entries().map_err(failed)?;
            let mut entry =
                entries.next().unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into())).map_err(failed)?;
            tree::copy_with_holes(&mut entry, file, &counter).map_err(failed)?
        } else {
            let mut size = 0;
            while let Some(piece) = reader.piece().map_err(failed)? {
                file.write_all(&piece).map_err(failed)?;
                size += piece.len() as u64;
                counter.add(piece.len() as u64);
            }
            size
        };
        reader.finish().map_err(failed)?;
        pending.commit()?;
        Ok(size)
    });
    (sender, consumer)
}

/// Reads up to the line that begins with the word, and returns the rest of it. Before it there may be what a login
/// shell's start-up files say.
pub(super) fn header(reader: &mut PipeReader, word: &str) -> Result<String> {
    let mut lines = BufReader::with_capacity(1, reader);
    let mut seen = 0;
    while seen < NOISE {
        let mut line = Vec::new();
        let count = lines
            .by_ref()
            .take(NOISE)
            .read_until(b'\n', &mut line)
            .map_err(|e| Error::new(Kind::Io, "receiving failed").caused_by(e))?;
        if count == 0 {
            break;
        }
        seen += count as u64;
        let text = String::from_utf8_lossy(&line);
        if let Some((_, rest)) = text.split_once(word) {
            return Ok(rest.trim().to_owned());
        }
    }
    Err(no_shell())
}

/// Makes the error of an account whose commands are not run by a shell.
pub(super) fn no_shell() -> Error {
    Error::new(Kind::Unsupported, "the machine did not run the command for it")
        .hint("the account may be limited to file transfers (ForceCommand, a restricted shell)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_begins_after_the_noise_and_its_holes_are_made() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let big = dir.path().join("big");
        File::create_new(&big).unwrap().set_len(16 << 20).unwrap();
        let line = super::super::super::scripts::SEND;
        for (from, text) in [(big.as_path(), "tar"), (Path::new("/proc/version"), "file")] {
            let mut shell = tokio::process::Command::new("sh");
            let out = shell.args(["-c", line, "x"]).arg(from).arg("W0rd").output().await.unwrap();
            assert!(out.stdout.starts_with(format!("W0rd {text}\n").as_bytes()), "{out:?}");
            let to = dir.path().join("to");
            let (sender, consumer) = write_file(&to, Some("W0rd".into()), &Counter::default());
            sender.send(Piece::Data("Welcome!\nno newline".into())).await.unwrap();
            for chunk in out.stdout.chunks(5000) {
                sender.send(Piece::Data(Bytes::copy_from_slice(chunk))).await.unwrap();
            }
            sender.send(Piece::End).await.unwrap();
            let size = consumer.await.unwrap().unwrap();
            assert_eq!(size, std::fs::read(from).unwrap().len() as u64);
            assert!(std::fs::read(&to).unwrap() == std::fs::read(from).unwrap());
            assert!(std::fs::metadata(&to).unwrap().blocks() < 1 << 10);
        }
        // Nothing that could be an answer.
        let to = dir.path().join("none");
        let (sender, consumer) = write_file(&to, Some("W0rd".into()), &Counter::default());
        sender.send(Piece::End).await.unwrap();
        assert_eq!(consumer.await.unwrap().unwrap_err().kind(), Kind::Unsupported);
        assert!(!to.exists());
    }
}
