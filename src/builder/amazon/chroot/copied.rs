//! Files of this host that are in a tree only as long as it is worked on: what was there before is there again afterwards.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::communicator::chroot::ChrootCommunicator;
use crate::engine::{Command, Communicator, ExitStatus, FileMeta, OutputSink, Source};
use crate::error::{Error, Kind, Result, io_error};
use crate::ui::event::Counter;

/// Puts what is at `$1` aside, to `$2`.
const ASIDE: &str = r#"mkdir -p -- "${1%/*}/"||exit 1
if [ -e "$1" ]||[ -L "$1" ];then exec mv -- "$1" "$2";fi"#;

/// Takes the file `$1` away, if its content is still that of standard input, and puts back what is at `$2`. What a script
/// has put in its place stays.
const BACK: &str = r#"c=$(cat;echo x)
if [ ! -L "$1" ]&&[ -f "$1" ]&&[ "$(cat -- "$1";echo x)" = "$c" ];then rm -f -- "$1"||exit 1
if [ -e "$2" ]||[ -L "$2" ];then exec mv -- "$2" "$1";fi
else exec rm -f -- "$2";fi"#;

/// A file that was copied.
pub struct Copied {
    file: String,
    content: Vec<u8>,
    /// What there was in its place.
    aside: String,
}

impl Copied {
    /// Copies a file of this host to the same path.
    pub async fn put(file: &str, chroot: &ChrootCommunicator) -> Result<Copied> {
        let failed = |error: Error| error.within(format_args!("option `copy_files`: {file}"));
        let unreadable = |e| failed(io_error("read", Path::new(file), e));
        let content = tokio::fs::read(file).await.map_err(unreadable)?;
        let mode = tokio::fs::metadata(file).await.map_err(unreadable)?.permissions().mode() & 0o777;
        let aside = format!("{file}.rimg-{}", uuid::Uuid::new_v4().simple());
        let copied = Copied { file: file.to_owned(), content, aside };
        copied.run(ASIDE, None, chroot).await?;
        let meta = FileMeta { mode: Some(mode), ..FileMeta::default() };
        chroot.upload(Source::Bytes(&copied.content), file, meta, &Counter::default()).await.map_err(failed)?;
        Ok(copied)
    }

    /// Takes it away again.
    pub async fn take_back(&self, chroot: &ChrootCommunicator) -> Result<()> {
        self.run(BACK, Some(self.content.clone()), chroot).await
    }

    async fn run(&self, program: &str, stdin: Option<Vec<u8>>, chroot: &ChrootCommunicator) -> Result<()> {
        let mut said = Said::default();
        let words = ["/bin/sh", "-c", program, "rimg", &self.file, &self.aside];
        let command = Command { stdin, ..Command::argv(words) };
        match chroot.exec(&command, &mut said).await? {
            ExitStatus::Code(0) => Ok(()),
            status => {
                let said = String::from_utf8_lossy(&said.0).trim().to_owned();
                let error = Error::new(Kind::Host, format!("option `copy_files`: {}: {said} ({status:?})", self.file));
                Err(error.hint("this needs a shell in the volume: copy_files = {} copies nothing"))
            }
        }
    }
}

/// What a program complains of.
#[derive(Default)]
struct Said(Vec<u8>);

impl OutputSink for Said {
    fn stdout(&mut self, _: &[u8]) {}

    fn stderr(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn shell(program: &str, paths: [&Path; 2], input: &str) -> bool {
        use std::io::Write;
        let mut shell = std::process::Command::new("sh");
        let shell = shell.args(["-c", program, "rimg"]).args(paths).stdin(std::process::Stdio::piped());
        let mut child = shell.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait().unwrap().success()
    }

    #[test]
    fn what_was_there_is_there_again_unless_the_script_has_changed_it() {
        let dir = tempfile::tempdir().unwrap();
        let (file, aside) = (dir.path().join("etc/resolv.conf"), dir.path().join("etc/aside"));
        let paths = [file.as_path(), aside.as_path()];
        // Nothing was there, not even the folder.
        assert!(shell(ASIDE, paths, ""));
        std::fs::write(&file, "ours\n\n").unwrap();
        assert!(shell(BACK, paths, "ours\n\n") && !file.exists());
        // A link that leads nowhere is put back as it was.
        symlink("/run/nowhere", &file).unwrap();
        assert!(shell(ASIDE, paths, "") && !file.is_symlink());
        std::fs::write(&file, "ours").unwrap();
        assert!(shell(BACK, paths, "ours") && file.is_symlink() && !aside.is_symlink());
        // The script's own stays, and so does a link of its making.
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&file, "before").unwrap();
        assert!(shell(ASIDE, paths, ""));
        std::fs::write(&file, "the script's").unwrap();
        assert!(shell(BACK, paths, "ours") && !aside.exists());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "the script's");
    }
}
