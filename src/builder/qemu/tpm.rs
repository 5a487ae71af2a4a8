//! A machine's TPM: swtpm beside QEMU, over a socket that nobody else can reach.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::error::{Context, Kind, Result};
use crate::host::{dirs, process};

/// The program of a machine's TPM; dropping it kills it.
pub struct Tpm {
    process: process::Process,
}

/// Finds swtpm, or says what to install.
pub fn require() -> Result<PathBuf> {
    process::require("swtpm", "swtpm").map_err(|e| e.within("option `vtpm`"))
}

impl Tpm {
    /// Starts a new TPM that keeps its state below `dir`; returns QEMU's end of the connection as well.
    pub fn start(dir: &Path) -> Result<(Tpm, OwnedFd)> {
        let state = dir.join("tpm");
        crate::host::atomic::remove(&state);
        dirs::private(&state)?;
        let cannot = "cannot make a socket for the TPM";
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().context(Kind::Host, cannot)?;
        let mut command = Command::new(require()?);
        command.args(["socket", "--tpm2", "--terminate", "--ctrl", "type=unixio,clientfd=0"]);
        command.arg("--tpmstate").arg(format!("dir={}", state.display()));
        command.arg("--log").arg(format!("file={},level=1", dir.join("tpm.log").display()));
        command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null()).stderr(Stdio::null());
        let process = process::Process::spawn(&mut command)?;
        Ok((Tpm { process }, ours.into()))
    }

    pub fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// Lets go of it: it ends with QEMU.
    pub fn leave(self) {
        self.process.leave();
    }

    /// Ends it and waits for it.
    pub async fn end(&mut self) {
        self.process.end(Duration::from_secs(2)).await;
    }
}
