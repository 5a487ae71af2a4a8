//! The `ssh_…` options that every builder shares.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::method::FileTransferMethod;
use crate::engine::{BuildCx, Seconds};
use crate::error::{Error, Kind, Result};

/// How to reach a machine over SSH. Names are Packer's where the thing is the same.
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SshOptions {
    /// Host name or address; builders that make the machine know it themselves.
    pub ssh_host: Option<String>,
    /// TCP port; default 22.
    pub ssh_port: Option<u16>,
    /// The user to log in as.
    pub ssh_username: Option<String>,
    /// The password, also given to every hidden prompt of keyboard-interactive authentication.
    pub ssh_password: Option<String>,
    /// A private key: OpenSSH or PEM; `~/` and paths relative to the script are understood.
    pub ssh_private_key_file: Option<PathBuf>,
    /// What unlocks the private key.
    pub ssh_private_key_passphrase: Option<String>,
    /// Whether the keys of the running SSH agent (`SSH_AUTH_SOCK`) are tried; default false.
    pub ssh_agent_auth: bool,
    /// Whether the password is also tried by keyboard-interactive; default true.
    pub ssh_keyboard_interactive: Option<bool>,
    /// How long to wait until the machine can be logged in to; default 5 minutes.
    pub ssh_timeout: Option<Seconds>,
    /// How often the server may refuse the credentials before that is final; default 3, and on a machine that is
    /// still booting as often as two minutes allow.
    pub ssh_handshake_attempts: Option<u32>,
    /// How long one TCP connection may take to come about; default 10 seconds.
    pub ssh_connect_timeout: Option<Seconds>,
    /// How often a silent server is asked for a sign of life; default 5 seconds, 0 turns it off.
    pub ssh_keep_alive_interval: Option<Seconds>,
    /// By which protocol files travel, `sftp` or `scp`; by default the fastest that the machine has: SFTP, a shell's
    /// `cat`, or scp. Folders travel as tar streams where the machine has a shell and tar.
    pub ssh_file_transfer_method: Option<FileTransferMethod>,
}

impl fmt::Debug for SshOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Passwords must not reach a log.
        f.debug_struct("SshOptions")
            .field("ssh_host", &self.ssh_host)
            .field("ssh_port", &self.ssh_port)
            .field("ssh_username", &self.ssh_username)
            .field("ssh_private_key_file", &self.ssh_private_key_file)
            .field("ssh_agent_auth", &self.ssh_agent_auth)
            .finish_non_exhaustive()
    }
}

impl SshOptions {
    /// Returns the port, 22 by default.
    pub fn port(&self) -> u16 {
        self.ssh_port.unwrap_or(22)
    }

    /// Returns how long to wait for the machine, five minutes by default.
    pub fn timeout(&self) -> Duration {
        self.ssh_timeout.map_or(Duration::from_secs(300), |s| s.0)
    }

    /// Returns the private key's absolute path: `~/` is the home folder, anything else relative starts at the script.
    pub fn private_key_path(&self, cx: &BuildCx) -> Option<PathBuf> {
        let path = self.ssh_private_key_file.as_ref()?;
        if let Ok(below_home) = path.strip_prefix("~")
            && let Ok(home) = etcetera::home_dir()
        {
            return Some(home.join(below_home));
        }
        Some(cx.settings.resolve(path))
    }

    /// Checks what can be known without connecting, and registers the passwords as secrets.
    pub fn validate(&self, cx: &BuildCx) -> Result<()> {
        for secret in [&self.ssh_password, &self.ssh_private_key_passphrase].into_iter().flatten() {
            cx.ui.secrets().add(secret);
        }
        if self.ssh_username.as_deref().unwrap_or_default().is_empty() {
            return Err(option_error("ssh_username", "is required: the user to log in as")
                .hint("images have their own: `debian` and `ubuntu` on cloud images, `vagrant` on boxes, or `root`"));
        }
        if self.ssh_port == Some(0) {
            return Err(option_error("ssh_port", "expected a port from 1 to 65535, found 0"));
        }
        if let Some(path) = self.private_key_path(cx) {
            let meta = std::fs::metadata(&path).map_err(|e| {
                option_error("ssh_private_key_file", format!("cannot read {}", path.display()))
                    .hint("make one with `ssh-keygen -t ed25519`, or correct the path")
                    .caused_by(e)
            })?;
            if !meta.is_file() {
                return Err(option_error("ssh_private_key_file", format!("{} is not a file", path.display())));
            }
        } else if self.ssh_private_key_passphrase.is_some() {
            return Err(option_error("ssh_private_key_passphrase", "is given without ssh_private_key_file"));
        }
        if self.ssh_agent_auth && std::env::var_os("SSH_AUTH_SOCK").is_none_or(|v| v.is_empty()) {
            return Err(option_error("ssh_agent_auth", "is set, but SSH_AUTH_SOCK is not: no agent runs here")
                .hint("start one with: eval \"$(ssh-agent)\" && ssh-add"));
        }
        Ok(())
    }
}

fn option_error(name: &'static str, message: impl fmt::Display) -> Error {
    Error::new(Kind::Option, format!("option `{name}`: {message}")).field("option", name)
}
