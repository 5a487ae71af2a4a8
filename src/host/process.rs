//! Programs on this host: each in a process group of its own, ended as a group.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

use super::owner;
use crate::error::{Error, Kind, Result};

/// Finds a program in `PATH`, as a shell does; a name with a slash is taken as it is.
pub fn which(program: impl AsRef<OsStr>) -> Option<PathBuf> {
    let program = Path::new(program.as_ref());
    let runs = |path: &Path| path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok();
    if program.components().count() > 1 {
        return runs(program).then(|| program.to_owned());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|candidate| runs(candidate))
}

/// Finds a program or says which package has it.
pub fn require(program: &str, package: &str) -> Result<PathBuf> {
    which(program).ok_or_else(|| {
        Error::new(Kind::Host, format!("the program {program} is not installed"))
            .hint(format!("install it, on Debian and Ubuntu with: apt-get install {package}"))
            .hint("`rimg doctor` lists all that this host lacks")
    })
}

/// Names a signal as shells and SSH do, without `SIG`; one without a common name is its number.
pub fn signal_name(number: i32) -> String {
    let name = match number {
        1 => "HUP",
        2 => "INT",
        3 => "QUIT",
        4 => "ILL",
        6 => "ABRT",
        7 => "BUS",
        8 => "FPE",
        9 => "KILL",
        10 => "USR1",
        11 => "SEGV",
        12 => "USR2",
        13 => "PIPE",
        14 => "ALRM",
        15 => "TERM",
        24 => "XCPU",
        25 => "XFSZ",
        other => return other.to_string(),
    };
    name.to_owned()
}

/// What a finished program left.
#[derive(Debug)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// A child in its own process group; dropping it kills the group, ending it awaited is [`Process::end`].
pub struct Process {
    child: Child,
    group: Option<Pid>,
}

impl Process {
    /// Starts `command` in a new process group, without standard input unless the command sets one.
    pub fn spawn(command: &mut Command) -> Result<Process> {
        let program = command.as_std().get_program().to_owned();
        if let Some(owner) = owner::current() {
            owner.before_process()?;
            command.env(owner::MARK, owner.id());
        }
        let child = command.process_group(0).kill_on_drop(true).spawn().map_err(|e| {
            let error = Error::new(Kind::Host, format!("cannot start {}", program.to_string_lossy()));
            match e.kind() {
                std::io::ErrorKind::NotFound => error.hint("the program is not installed, or not in PATH"),
                _ => error,
            }
            .caused_by(e)
        })?;
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        Ok(Process { child, group })
    }

    /// Returns the process, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Returns the process id, which is also the group's.
    pub fn id(&self) -> Option<u32> {
        self.group.map(|pid| pid.as_raw_nonzero().get().unsigned_abs())
    }

    /// Sends a signal to the whole group; a group that is gone is fine.
    pub fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            let _ = kill_process_group(group, signal);
        }
    }

    /// Waits for the program and forgets its group.
    pub async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        let status = self.child.wait().await?;
        self.group = None;
        Ok(status)
    }

    /// Lets go of it: it goes on when this process has ended.
    pub fn leave(self) {
        // A child that is dropped is killed. Nobody waits for it any more but the system.
        std::mem::forget(self);
    }

    /// Asks the group to end (SIGTERM), kills it after `grace`, and reaps the child.
    pub async fn end(&mut self, grace: Duration) {
        self.signal(Signal::TERM);
        if tokio::time::timeout(grace, self.child.wait()).await.is_err() {
            self.signal(Signal::KILL);
            let _ = self.child.wait().await;
        } else {
            // Grandchildren that ignored the first signal.
            self.signal(Signal::KILL);
        }
        self.group = None;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Runs a program to its end and returns its output; a failure to start or a non-zero status is an error that shows
/// the program's own last words. Cancelling (dropping the future) kills the group.
pub async fn run(program: impl AsRef<OsStr>, args: impl IntoIterator<Item = impl Into<OsString>>) -> Result<Output> {
    let mut command = Command::new(program.as_ref());
    command.args(args.into_iter().map(Into::into)).stdin(Stdio::null());
    let output = output(&mut command).await?;
    if output.status.success() {
        return Ok(output);
    }
    let name = Path::new(program.as_ref()).file_name().unwrap_or(program.as_ref()).to_string_lossy().into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let said = if stderr.is_empty() { String::new() } else { format!(": {stderr}") };
    Err(Error::new(Kind::Host, format!("{name} failed ({}){said}", output.status))
        .field("status", output.status.code())
        .field("stderr", stderr))
}

/// Runs a command to its end with its output captured, whatever its status.
pub async fn output(command: &mut Command) -> Result<Output> {
    use tokio::io::AsyncReadExt;
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = Process::spawn(command)?;
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let (out, err) = (process.child.stdout.take(), process.child.stderr.take());
    let read_out = async {
        match out {
            Some(mut pipe) => pipe.read_to_end(&mut stdout).await,
            None => Ok(0),
        }
    };
    let read_err = async {
        match err {
            Some(mut pipe) => pipe.read_to_end(&mut stderr).await,
            None => Ok(0),
        }
    };
    let (read_out, read_err) = tokio::join!(read_out, read_err);
    let status = process.wait().await;
    let failed = |e: std::io::Error| Error::new(Kind::Host, "cannot read a program's output").caused_by(e);
    read_out.map_err(failed)?;
    read_err.map_err(failed)?;
    Ok(Output { status: status.map_err(failed)?, stdout, stderr })
}
