//! This host as a machine: commands in process groups of their own, files by copying.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use tokio::io::AsyncReadExt;
use tokio_util::sync::CancellationToken;

use super::child::{self, Input};
use super::{pipe, tree};
use crate::engine::communicator::{BYTES_LIMIT, too_large};
use crate::engine::{Command, Communicator, ExitStatus, FileMeta, Line, OutputSink, Sink, Source};
use crate::error::{Error, Kind, Result, io_error};
use crate::host::atomic::Pending;
use crate::host::blocking::{self, Cancel};
use crate::host::sparse;
use crate::ui::event::Counter;

/// Works on this host; relative paths and commands start in one folder.
pub struct LocalCommunicator {
    dir: PathBuf,
    closed: CancellationToken,
}

impl LocalCommunicator {
    /// Makes a communicator whose commands run in `dir`, and whose relative remote paths start there.
    pub fn new(dir: impl Into<PathBuf>) -> LocalCommunicator {
        LocalCommunicator { dir: dir.into(), closed: CancellationToken::new() }
    }

    fn check_open(&self) -> Result<()> {
        if self.closed.is_cancelled() {
            return Err(Error::new(Kind::Connect, "the machine has been closed"));
        }
        Ok(())
    }

    fn resolve(&self, path: &str) -> PathBuf {
        match path.strip_prefix("~/").map(|rest| (etcetera::home_dir(), rest)) {
            Some((Ok(home), rest)) => home.join(rest),
            _ => self.dir.join(path),
        }
    }
}

#[async_trait]
impl Communicator for LocalCommunicator {
    async fn exec(&self, command: &Command, out: &mut dyn OutputSink) -> Result<ExitStatus> {
        self.check_open()?;
        let mut program = match &command.line {
            Line::Shell(line) => {
                let mut shell = tokio::process::Command::new("/bin/sh");
                shell.arg("-c").arg(line);
                shell
            }
            Line::Argv(argv) => {
                let (name, args) =
                    argv.split_first().ok_or_else(|| Error::new(Kind::Option, "the command is an empty list"))?;
                let mut program = tokio::process::Command::new(name);
                program.args(args);
                program
            }
        };
        program.current_dir(&self.dir).envs(command.env.iter().map(|(k, v)| (k, v)));
        let input = command.stdin.as_deref().map_or(Input::Nothing, Input::Bytes);
        child::run(&mut program, input, out).await
    }

    async fn interact(&self, command: Option<&str>) -> Result<ExitStatus> {
        self.check_open()?;
        let shell = std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into());
        let mut program = tokio::process::Command::new(shell);
        program.current_dir(&self.dir).args(command.iter().flat_map(|line| ["-c", line]));
        child::interact(&mut program).await
    }

    async fn upload(&self, what: Source<'_>, to: &str, meta: FileMeta, counter: &Counter) -> Result<u64> {
        self.check_open()?;
        let mut target = self.resolve(to);
        match what {
            Source::Bytes(bytes) => {
                let (bytes, counter) = (bytes.to_vec(), counter.clone());
                let mode = meta.mode.unwrap_or(0o644);
                blocking::run(move |cancel| write_file(&mut bytes.as_slice(), &target, mode, &counter, cancel)).await
            }
            Source::File(path) => {
                if let (true, Some(name)) = (to.ends_with('/'), path.file_name()) {
                    target.push(name);
                }
                let (path, counter) = (path.to_owned(), counter.clone());
                blocking::run(move |cancel| copy_file(&path, &target, meta.mode, &counter, cancel)).await
            }
            Source::Tree(path) => copy_tree(path, &target, counter).await,
        }
    }

    async fn download(&self, from: &str, to: Sink<'_>, counter: &Counter) -> Result<u64> {
        self.check_open()?;
        let source = self.resolve(from);
        match to {
            Sink::Bytes(into) => {
                let failed = |e| io_error("read", &source, e);
                let file = tokio::fs::File::open(&source).await.map_err(failed)?;
                // A device has no size, and may have no end.
                let read = file.take(BYTES_LIMIT + 1).read_to_end(into).await.map_err(failed)? as u64;
                if read > BYTES_LIMIT {
                    return Err(too_large(from));
                }
                counter.add(read);
                Ok(read)
            }
            Sink::File(path) => {
                let (path, counter) = (path.to_owned(), counter.clone());
                blocking::run(move |cancel| copy_file(&source, &path, None, &counter, cancel)).await
            }
            Sink::Tree(path) => copy_tree(&source, path, counter).await,
        }
    }

    async fn close(&self) {
        self.closed.cancel();
    }

    async fn closed(&self) {
        self.closed.cancelled().await;
    }
}

fn copy_file(from: &Path, to: &Path, mode: Option<u32>, counter: &Counter, cancel: &Cancel) -> Result<u64> {
    let failed = |e| io_error("read", from, e);
    let mut file = File::open(from).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    if meta.is_dir() {
        return Err(Error::new(Kind::Io, format!("{} is a folder, not a file", from.display())));
    }
    let mode = mode.unwrap_or(meta.permissions().mode() & 0o7777);
    let extents = sparse::extents(&file, meta.len());
    if !sparse::has_holes(&extents, meta.len()) {
        return write_file(&mut file, to, mode, counter, cancel);
    }
    write(to, mode, |target| {
        for extent in &extents {
            file.seek(SeekFrom::Start(extent.offset)).map_err(failed)?;
            target.seek(SeekFrom::Start(extent.offset)).map_err(|e| io_error("write", to, e))?;
            copy(&mut (&mut file).take(extent.length), target, to, counter, cancel)?;
        }
        target.set_len(meta.len()).map_err(|e| io_error("write", to, e))?;
        Ok(meta.len())
    })
}

fn write_file(from: &mut impl Read, to: &Path, mode: u32, counter: &Counter, cancel: &Cancel) -> Result<u64> {
    write(to, mode, |target| copy(from, target, to, counter, cancel))
}

/// Makes a file that appears when `fill` is done with it; what is no file (a device, a pipe) is written as it is.
fn write(to: &Path, mode: u32, fill: impl FnOnce(&mut File) -> Result<u64>) -> Result<u64> {
    let failed = |e| io_error("write", to, e);
    match std::fs::metadata(to) {
        Ok(found) if found.is_dir() => {
            return Err(Error::new(Kind::Io, format!("cannot write {}: it is a folder", to.display())));
        }
        Ok(found) if !found.is_file() => {
            return fill(&mut std::fs::OpenOptions::new().write(true).open(to).map_err(failed)?);
        }
        _ => {}
    }
    // A link stays one.
    let target = std::fs::canonicalize(to).unwrap_or_else(|_| to.to_owned());
    let pending = Pending::beside(&target)?;
    let mut file = File::create(pending.path()).map_err(failed)?;
    let total = fill(&mut file)?;
    file.set_permissions(std::fs::Permissions::from_mode(mode)).map_err(failed)?;
    drop(file);
    pending.commit()?;
    Ok(total)
}

fn copy(from: &mut impl Read, target: &mut File, to: &Path, counter: &Counter, cancel: &Cancel) -> Result<u64> {
    let mut buffer = vec![0; 256 << 10];
    let mut total = 0;
    loop {
        cancel.check()?;
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(count) => count,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Error::new(Kind::Io, "cannot read what is to be copied").caused_by(e)),
        };
        target.write_all(buffer.get(..count).unwrap_or_default()).map_err(|e| io_error("write", to, e))?;
        total += count as u64;
        counter.add(count as u64);
    }
}

/// Copies the contents of a folder: the same stream as to a machine, so that the same things are kept.
async fn copy_tree(from: &Path, to: &Path, counter: &Counter) -> Result<u64> {
    let found = tokio::fs::metadata(from).await.map_err(|e| io_error("read", from, e))?;
    if !found.is_dir() {
        return Err(Error::new(Kind::Io, format!("{} is a file, not a folder", from.display())));
    }
    let (writer, mut pieces) = pipe::outgoing();
    let (sender, mut reader) = pipe::incoming();
    let (from, to, counter) = (from.to_owned(), to.to_owned(), counter.clone());
    let packer = tokio::task::spawn_blocking(move || {
        tree::pack(&from, writer, tree::Packing { sparse: true, end: None }, &Counter::default())
    });
    let unpacker = tokio::task::spawn_blocking(move || tree::unpack(&mut reader, &to, &counter));
    let mut unpacker_ended = false;
    while let Some(piece) = pieces.recv().await {
        if sender.send(pipe::Piece::Data(piece)).await.is_err() {
            unpacker_ended = true;
            break;
        }
    }
    drop(pieces);
    let interrupted = |e| Error::new(Kind::Internal, "copying was interrupted").caused_by(e);
    let packed = packer.await.map_err(interrupted)?;
    if packed.is_ok() {
        let _ = sender.send(pipe::Piece::End).await;
    }
    drop(sender);
    let unpacked = unpacker.await.map_err(interrupted)?;
    // Each stops the other; the first one knows why.
    if !unpacker_ended {
        packed?;
    }
    unpacked.map(|unpacked| unpacked.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Captured(Vec<u8>, Vec<u8>);

    impl OutputSink for Captured {
        fn stdout(&mut self, bytes: &[u8]) {
            self.0.extend_from_slice(bytes);
        }
        fn stderr(&mut self, bytes: &[u8]) {
            self.1.extend_from_slice(bytes);
        }
    }

    #[tokio::test]
    async fn runs_commands_with_input_environment_and_status() {
        let dir = tempfile::tempdir().unwrap();
        let local = LocalCommunicator::new(dir.path());
        let mut out = Captured::default();
        let mut command = Command::shell("cat; echo \"$GREETING\" >&2; pwd; exit 3");
        command.stdin = Some(b"hello\n".to_vec());
        command.env.push(("GREETING".into(), "it's".into()));
        assert_eq!(local.exec(&command, &mut out).await.unwrap(), ExitStatus::Code(3));
        let here = dir.path().canonicalize().unwrap();
        assert_eq!(String::from_utf8(out.0).unwrap(), format!("hello\n{}\n", here.display()));
        assert_eq!(out.1, b"it's\n");
        let status = local.exec(&Command::shell("kill -TERM $$"), &mut Captured::default()).await.unwrap();
        assert_eq!(status, ExitStatus::Signal("TERM".into()));
        let missing = local.exec(&Command::argv(["no-such-program"]), &mut Captured::default()).await.unwrap_err();
        assert_eq!(missing.kind(), Kind::Host);
    }

    #[tokio::test]
    async fn a_background_process_does_not_hold_the_command() {
        let local = LocalCommunicator::new("/");
        let started = std::time::Instant::now();
        let status = local.exec(&Command::shell("sleep 30 & exit 0"), &mut Captured::default()).await.unwrap();
        assert_eq!(status, ExitStatus::Code(0));
        assert!(started.elapsed().as_secs() < 10);
    }

    #[tokio::test]
    async fn a_cancelled_command_is_killed_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let local = LocalCommunicator::new(dir.path());
        let command = Command::shell("sh -c 'echo $$ > pid; exec sleep 60'; true");
        let mut out = Captured::default();
        let limited = tokio::time::timeout(std::time::Duration::from_secs(1), local.exec(&command, &mut out));
        assert!(limited.await.is_err());
        let pid = std::fs::read_to_string(dir.path().join("pid")).unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
    }

    #[tokio::test]
    async fn copies_files_and_trees() {
        let dir = tempfile::tempdir().unwrap();
        let local = LocalCommunicator::new(dir.path());
        let counter = Counter::default();
        local
            .upload(Source::Bytes(b"x"), "a/b/one", FileMeta { mode: Some(0o750), ..FileMeta::default() }, &counter)
            .await
            .unwrap();
        assert_eq!(std::fs::metadata(dir.path().join("a/b/one")).unwrap().permissions().mode() & 0o777, 0o750);
        std::os::unix::fs::symlink("one", dir.path().join("a/b/link")).unwrap();
        let sent = local.upload(Source::Tree(&dir.path().join("a")), "copy", FileMeta::default(), &counter).await;
        assert_eq!(sent.unwrap(), 1);
        assert_eq!(std::fs::read_link(dir.path().join("copy/b/link")).unwrap(), Path::new("one"));
        let mut bytes = Vec::new();
        local.download("copy/b/one", Sink::Bytes(&mut bytes), &counter).await.unwrap();
        assert_eq!(bytes, b"x");
        let missing = local.upload(Source::Tree(Path::new("/no/such")), "y", FileMeta::default(), &counter).await;
        assert!(missing.unwrap_err().message().contains("/no/such"));
        assert!(!dir.path().join("y").exists());
        // Holes stay holes.
        use std::os::unix::fs::MetadataExt;
        let sparse = dir.path().join("sparse");
        File::create_new(&sparse).unwrap().set_len(64 << 20).unwrap();
        let sent = local.upload(Source::File(&sparse), "sparse-copy", FileMeta::default(), &counter).await;
        assert_eq!(sent.unwrap(), 64 << 20);
        let copy = std::fs::metadata(dir.path().join("sparse-copy")).unwrap();
        assert_eq!((copy.len(), copy.blocks()), (64 << 20, 0));
        local.close().await;
        assert!(local.exec(&Command::shell("true"), &mut Captured::default()).await.is_err());
    }

    #[tokio::test]
    async fn a_cancelled_copy_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let local = LocalCommunicator::new(dir.path());
        let counter = Counter::default();
        // It never ends by itself.
        let into = dir.path().join("into/copy");
        let copy = local.download("/dev/zero", Sink::File(&into), &counter);
        let cut = async {
            while counter.get() < 4 << 20 {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            _ = copy => panic!("it ended"),
            () = cut => {}
        }
        for _ in 0..500 {
            if std::fs::read_dir(dir.path().join("into")).unwrap().count() == 0 {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("the copy goes on");
    }
}
