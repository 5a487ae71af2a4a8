//! A folder of this host as the root of a machine: commands by chroot(8), files by commands in it. So a link in it leads to
//! where it does for what runs there, and never to a file of this host.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::child::{self, Input};
use super::pipe::{self, Piece, PipeReader};
use super::{scripts, tree};
use crate::engine::communicator::{BYTES_LIMIT, too_large};
use crate::engine::{Command, Communicator, ExitStatus, FileMeta, Line, OutputSink, Sink, Source};
use crate::error::{Error, Kind, Result, io_error};
use crate::host::atomic::Pending;
use crate::host::blocking;
use crate::ui::event::Counter;

/// What a command in it finds in its environment: this host's own is none of its business.
const ENVIRONMENT: [(&str, &str); 5] = [
    ("HOME", "/root"),
    ("LOGNAME", "root"),
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("SHELL", "/bin/sh"),
    ("USER", "root"),
];
/// The size of the pieces that a file is read in.
const PIECE: usize = 256 << 10;
/// How much of a transfer program's own words is kept.
const KEPT: usize = 64 << 10;

/// Writes a file to standard output; one that cannot be opened is told from an empty one.
const SEND: &str = r#"exec 3<"$1"||exit 1;exec cat <&3"#;
/// Writes the content of a folder to standard output as a tar stream.
const SEND_TREE: &str = r#"LC_ALL=C;export LC_ALL;cd -- "$1"||exit 1;exec tar -cf - ."#;

/// Works in a folder as root.
pub struct ChrootCommunicator {
    root: PathBuf,
    /// The words in front of a program that needs root; none where rimg is root.
    wrapper: Vec<String>,
    closed: CancellationToken,
}

impl ChrootCommunicator {
    /// Makes one for a folder; programs that need root are run by `wrapper`.
    pub fn new(root: impl Into<PathBuf>, wrapper: &[String]) -> ChrootCommunicator {
        ChrootCommunicator { root: root.into(), wrapper: wrapper.to_vec(), closed: CancellationToken::new() }
    }

    fn check_open(&self) -> Result<()> {
        if self.closed.is_cancelled() {
            return Err(Error::new(Kind::Connect, "the machine has been closed"));
        }
        Ok(())
    }

    /// Returns what runs a command in the folder.
    fn program(&self, line: &Line, env: &[(String, String)]) -> Result<tokio::process::Command> {
        let words = match line {
            Line::Shell(line) => vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()],
            Line::Argv(argv) => argv.clone(),
        };
        if words.is_empty() {
            return Err(Error::new(Kind::Option, "the command is an empty list"));
        }
        let mut all = self.wrapper.clone();
        all.extend(["chroot".to_owned(), self.root.display().to_string()]);
        if !env.is_empty() {
            // A wrapper such as sudo takes what it does not know out of the environment.
            all.push("env".to_owned());
            all.extend(env.iter().map(|(name, value)| format!("{name}={value}")));
        }
        all.extend(words);
        let (first, args) = all.split_first().ok_or_else(|| Error::new(Kind::Internal, "a command without a word"))?;
        let mut program = tokio::process::Command::new(first);
        program.args(args).env_clear().envs(ENVIRONMENT);
        Ok(program)
    }

    /// Runs a transfer's program; one that fails is an error with its own words.
    async fn transfer(&self, line: String, input: Input<'_>, out: &mut Poured, what: &str) -> Result<()> {
        let status = child::run(&mut self.program(&Line::Shell(line), &[])?, input, out).await?;
        if status == ExitStatus::Code(0) {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&out.stderr).trim().to_owned();
        let said = if said.is_empty() { format!("{status:?}") } else { said };
        let error = Error::new(Kind::Io, format!("{what} in {}: {said}", self.root.display()));
        Err(match status {
            ExitStatus::Code(126 | 127) => error.hint("this needs sh, cat and, for folders, tar in the chroot"),
            _ if said.contains("No space left") => error.hint("the volume is full: give it a larger root_volume_size"),
            _ => error,
        })
    }

    async fn receive(&self, input: Input<'_>, size: u64, to: &str, mode: u32) -> Result<()> {
        let (mode, size, to) = (format!("{mode:o}"), size.to_string(), inside(to));
        let line = scripts::line(scripts::RECEIVE, &[&to, &mode, &size, &unique(), "done", ""]);
        self.transfer(line, input, &mut Poured::default(), &format!("cannot write {to}")).await
    }

    async fn receive_file(&self, path: &Path, to: &str, mode: Option<u32>, counter: &Counter) -> Result<u64> {
        let failed = |e| io_error("read", path, e);
        let meta = std::fs::metadata(path).map_err(failed)?;
        if meta.is_dir() {
            return Err(Error::new(Kind::Io, format!("{} is a folder, not a file", path.display())));
        }
        let mode = mode.unwrap_or(meta.permissions().mode() & 0o7777);
        let (pieces, producer) = read(path, counter);
        let to = match (to.ends_with('/'), path.file_name()) {
            (true, Some(name)) => format!("{to}{}", name.to_string_lossy()),
            _ => to.to_owned(),
        };
        let received = self.receive(Input::Pieces(pieces), meta.len(), &to, mode).await;
        // What was not read whole has not arrived whole, either.
        producer.await?;
        received.map(|()| meta.len())
    }

    async fn receive_tree(&self, dir: &Path, to: &str, counter: &Counter) -> Result<u64> {
        if !std::fs::metadata(dir).map_err(|e| io_error("read", dir, e))?.is_dir() {
            return Err(Error::new(Kind::Io, format!("{} is a file, not a folder", dir.display())));
        }
        let (writer, pieces) = pipe::outgoing();
        let (word, to, before) = (unique(), inside(to), counter.get());
        let (root, end, counted) = (dir.to_owned(), word.clone(), counter.clone());
        let packer = blocking::run(move |_| {
            tree::pack(&root, writer, tree::Packing { sparse: false, end: Some(&end) }, &counted)
        });
        let line = scripts::line(scripts::RECEIVE_TREE, &[&to, &unique(), &word, "done"]);
        let what = format!("cannot unpack the folder into {to}");
        let mut out = Poured::default();
        let (packed, received) = tokio::join!(packer, self.transfer(line, Input::Pieces(pieces), &mut out, &what));
        received?;
        packed?;
        Ok(counter.get() - before)
    }

    /// Runs a program whose output is what is fetched, and has `take` read that.
    async fn send<T: Send + 'static>(
        &self,
        (program, from): (&str, &str),
        take: impl FnOnce(&mut PipeReader) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (sender, mut reader) = pipe::incoming();
        let taker = blocking::run(move |_| take(&mut reader));
        let what = format!("cannot read {from}");
        let line = scripts::line(program, &[&inside(from)]);
        let fetch = async {
            let mut out = Poured { pieces: Some(sender.clone()), ..Poured::default() };
            let sent = self.transfer(line, Input::Nothing, &mut out, &what).await;
            if sent.is_ok() {
                let _ = sender.send(Piece::End).await;
            }
            drop((sender, out));
            sent
        };
        let (sent, taken) = tokio::join!(fetch, taker);
        sent?;
        taken
    }
}

/// Returns a path in the folder: there is no home but root's, and nothing but its root to start from.
fn inside(path: &str) -> String {
    match (path.strip_prefix("~/"), path.starts_with('/')) {
        (Some(rest), _) => format!("/root/{rest}"),
        (None, true) => path.to_owned(),
        (None, false) => format!("/{path}"),
    }
}

fn unique() -> String {
    format!(".rimg-{}", uuid::Uuid::new_v4().simple())
}

/// Starts to read a file in pieces.
fn read(path: &Path, counter: &Counter) -> (mpsc::Receiver<Bytes>, impl Future<Output = Result<()>>) {
    let (sender, pieces) = mpsc::channel(16);
    let (path, counter) = (path.to_owned(), counter.clone());
    let reading = tokio::task::spawn_blocking(move || {
        let failed = |e| io_error("read", &path, e);
        let mut file = File::open(&path).map_err(failed)?;
        let mut buffer = vec![0; PIECE];
        loop {
            let count = file.read(&mut buffer).map_err(failed)?;
            let piece = Bytes::copy_from_slice(buffer.get(..count).unwrap_or_default());
            // A receiver that is gone knows why.
            if count == 0 || sender.blocking_send(piece).is_err() {
                return Ok(());
            }
            counter.add(count as u64);
        }
    });
    let interrupted = |e| Error::new(Kind::Internal, "reading a file was interrupted").caused_by(e);
    (pieces, async move { reading.await.map_err(interrupted)? })
}

/// Takes the output of a transfer's program: what is fetched goes on, its own words are kept.
#[derive(Default)]
struct Poured {
    pieces: Option<mpsc::Sender<Piece>>,
    waiting: Vec<Bytes>,
    stderr: Vec<u8>,
}

#[async_trait]
impl OutputSink for Poured {
    fn stdout(&mut self, bytes: &[u8]) {
        if self.pieces.is_some() {
            self.waiting.push(Bytes::copy_from_slice(bytes));
        }
    }

    fn stderr(&mut self, bytes: &[u8]) {
        let room = KEPT.saturating_sub(self.stderr.len()).min(bytes.len());
        self.stderr.extend_from_slice(bytes.get(..room).unwrap_or_default());
    }

    async fn room(&mut self) {
        let Some(pieces) = &self.pieces else { return };
        for piece in self.waiting.drain(..) {
            // Who takes them has an error of its own, if it is gone.
            let _ = pieces.send(Piece::Data(piece)).await;
        }
    }
}

#[async_trait]
impl Communicator for ChrootCommunicator {
    async fn exec(&self, command: &Command, out: &mut dyn OutputSink) -> Result<ExitStatus> {
        self.check_open()?;
        let input = command.stdin.as_deref().map_or(Input::Nothing, Input::Bytes);
        child::run(&mut self.program(&command.line, &command.env)?, input, out).await
    }

    async fn upload(&self, what: Source<'_>, to: &str, meta: FileMeta, counter: &Counter) -> Result<u64> {
        self.check_open()?;
        match what {
            Source::Bytes(bytes) => {
                let size = bytes.len() as u64;
                self.receive(Input::Bytes(bytes), size, to, meta.mode.unwrap_or(0o644)).await?;
                counter.add(size);
                Ok(size)
            }
            Source::File(path) => self.receive_file(path, to, meta.mode, counter).await,
            Source::Tree(path) => self.receive_tree(path, to, counter).await,
        }
    }

    async fn download(&self, from: &str, to: Sink<'_>, counter: &Counter) -> Result<u64> {
        self.check_open()?;
        let counted = counter.clone();
        match to {
            Sink::Bytes(into) => {
                let name = from.to_owned();
                *into = self
                    .send((SEND, from), move |reader| {
                        let mut bytes = Vec::new();
                        let failed = |e| Error::new(Kind::Io, "receiving failed").caused_by(e);
                        while let Some(piece) = reader.piece().map_err(failed)? {
                            if (bytes.len() + piece.len()) as u64 > BYTES_LIMIT {
                                return Err(too_large(&name));
                            }
                            bytes.extend_from_slice(&piece);
                            counted.add(piece.len() as u64);
                        }
                        Ok(bytes)
                    })
                    .await?;
                Ok(into.len() as u64)
            }
            Sink::File(path) => {
                let path = path.to_owned();
                self.send((SEND, from), move |reader| write(reader, &path, &counted)).await
            }
            Sink::Tree(path) => {
                let path = path.to_owned();
                let unpacked = self.send((SEND_TREE, from), move |reader| tree::unpack(reader, &path, &counted));
                unpacked.await.map(|unpacked| unpacked.bytes)
            }
        }
    }

    async fn interact(&self, command: Option<&str>) -> Result<ExitStatus> {
        self.check_open()?;
        let line = match command {
            Some(line) => Line::Shell(line.to_owned()),
            None => Line::Argv(vec!["/bin/sh".to_owned(), "-i".to_owned()]),
        };
        child::interact(&mut self.program(&line, &[])?).await
    }

    async fn close(&self) {
        self.closed.cancel();
    }

    async fn closed(&self) {
        self.closed.cancelled().await;
    }
}

/// Writes what comes to a file that appears when the end was said.
fn write(reader: &mut PipeReader, path: &Path, counter: &Counter) -> Result<u64> {
    let failed = |e| io_error("write", path, e);
    let pending = Pending::beside(path)?;
    let mut file = File::create(pending.path()).map_err(failed)?;
    let mut size = 0;
    while let Some(piece) = reader.piece().map_err(failed)? {
        file.write_all(&piece).map_err(failed)?;
        size += piece.len() as u64;
        counter.add(piece.len() as u64);
    }
    drop(file);
    pending.commit()?;
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_start_at_its_root() {
        for (path, found) in [("/etc/x", "/etc/x"), ("etc/x", "/etc/x"), ("~/x", "/root/x"), ("-x", "/-x")] {
            assert_eq!(inside(path), found);
        }
    }

    #[test]
    fn a_command_has_the_wrapper_in_front_and_nothing_of_this_hosts_environment() {
        let chroot = ChrootCommunicator::new("/mnt/x y", &["sudo".to_owned(), "-n".to_owned()]);
        let env = [("A".to_owned(), "b c".to_owned())];
        let program = chroot.program(&Line::Shell("echo $A".into()), &env).unwrap();
        let program = program.as_std();
        let args: Vec<_> = program.get_args().map(|arg| arg.to_str().unwrap()).collect();
        assert_eq!(program.get_program(), "sudo");
        assert_eq!(args, ["-n", "chroot", "/mnt/x y", "env", "A=b c", "/bin/sh", "-c", "echo $A"]);
        assert!(program.get_envs().all(|(name, _)| ENVIRONMENT.iter().any(|(own, _)| name == *own)));
        assert!(chroot.program(&Line::Argv(Vec::new()), &[]).is_err());
    }
}
