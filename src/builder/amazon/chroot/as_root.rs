//! Programs of this host that need root.

use std::ffi::OsStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::host::process::{self, Output};

/// What runs a program as root: rimg itself, or the words in front of it (`sudo`, `-n`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AsRoot(pub Vec<String>);

impl AsRoot {
    /// Runs a program to its end; a failure is an error with its own words.
    pub async fn run<S: AsRef<OsStr>>(&self, words: &[S]) -> Result<Output> {
        let own = words.iter().map(AsRef::as_ref);
        let mut all = self.0.iter().map(OsStr::new).chain(own);
        let program = all.next().ok_or_else(|| Error::new(Kind::Internal, "a command without a word"))?;
        process::run(program, all).await
    }

    /// Finds out whether they are root.
    pub async fn check(&self) -> Result<()> {
        let refused = |what: String| {
            Err(Error::new(Kind::Host, what)
                .hint("run rimg as root: sudo -E rimg run …")
                .hint("or say what makes a command root's: command_wrapper = { \"sudo\", \"-n\" }"))
        };
        if self.0.is_empty() {
            let user = rustix::process::geteuid();
            return match user.is_root() {
                true => Ok(()),
                false => refused(format!("mounting a volume and chroot need root, and rimg runs as user {user}")),
            };
        }
        let wrapper = self.0.join(" ");
        match self.run(&["id", "-u"]).await {
            Ok(output) if output.stdout.trim_ascii() == b"0" => Ok(()),
            Ok(output) => {
                let user = String::from_utf8_lossy(&output.stdout).trim().to_owned();
                refused(format!("option `command_wrapper`: `{wrapper} id -u` says {user:?}, and root is 0"))
            }
            Err(error) => refused(format!("option `command_wrapper`: `{wrapper}` does not run a command: {error}")),
        }
    }
}
