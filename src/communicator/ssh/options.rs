//! The `ssh_…` options that every builder shares.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::algorithms::AlgorithmOptions;
use super::bastion::BastionOptions;
use super::host_key::HostKeyOptions;
use super::method::FileTransferMethod;
use super::plan::Plan;
use super::proxy::ProxyOptions;
use super::tunnel::TunnelOptions;
use crate::engine::options::{OptionTable, fields};
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
    /// A private key: OpenSSH, PEM or PuTTY; `~/` and paths relative to the script are understood.
    pub ssh_private_key_file: Option<PathBuf>,
    /// What unlocks the private key.
    pub ssh_private_key_passphrase: Option<String>,
    /// An OpenSSH certificate for the private key, `id_ed25519-cert.pub`.
    pub ssh_certificate_file: Option<PathBuf>,
    /// Whether the keys of the running SSH agent (`SSH_AUTH_SOCK`) are tried; default false.
    pub ssh_agent_auth: bool,
    /// Whether the agent is kept from the machine; default true. With `false` commands on the machine can use the
    /// agent's keys, and so can whoever is root there.
    pub ssh_disable_agent_forwarding: Option<bool>,
    /// Whether the password is also tried by keyboard-interactive; default true.
    pub ssh_keyboard_interactive: Option<bool>,
    /// Whether commands get a terminal; their standard error then comes with their output. Default false.
    pub ssh_pty: bool,
    /// Whether `~/.ssh/config`, or the file named, says what the script does not; default false.
    pub ssh_use_config: UseConfig,
    /// How long to wait until the machine can be logged in to; default 5 minutes.
    pub ssh_timeout: Option<Seconds>,
    /// How long to leave the machine alone when it takes logins for the first time; the connection is then made anew.
    pub pause_before_connecting: Option<Seconds>,
    /// How often the server may refuse the credentials before that is final; default 3, and on a machine that is
    /// still booting as often as two minutes allow.
    pub ssh_handshake_attempts: Option<u32>,
    /// How long one TCP connection may take to come about; default 10 seconds.
    pub ssh_connect_timeout: Option<Seconds>,
    /// How long a server that has said its name may take for keys, for the login, and to open a channel; default 60
    /// seconds.
    pub ssh_handshake_timeout: Option<Seconds>,
    /// How often a silent server is asked for a sign of life; default 5 seconds, 0 turns it off. Twelve that stay
    /// unanswered end the connection.
    pub ssh_keep_alive_interval: Option<Seconds>,
    /// By which protocol files travel, `sftp` or `scp`; by default the fastest that the machine has: SFTP, a shell's
    /// `cat`, or scp. Folders travel as tar streams where the machine has a shell and tar.
    pub ssh_file_transfer_method: Option<FileTransferMethod>,
    /// How long nothing at all may be heard from the server before the connection is given up; answers to keep-alives
    /// count. Default: keep-alives alone decide.
    pub ssh_read_write_timeout: Option<Seconds>,
    /// What is known of the host key.
    #[serde(skip)]
    pub host_key: HostKeyOptions,
    /// Which algorithms are offered.
    #[serde(skip)]
    pub algorithms: AlgorithmOptions,
    /// Hosts to go through.
    #[serde(skip)]
    pub bastions: BastionOptions,
    /// The proxy to go through.
    #[serde(skip)]
    pub proxy: ProxyOptions,
    /// Ports that are carried to and fro.
    #[serde(skip)]
    pub tunnels: TunnelOptions,
}

/// Whether an SSH client's configuration file is used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum UseConfig {
    #[default]
    No,
    /// `~/.ssh/config`.
    Users,
    File(PathBuf),
}

impl<'de> Deserialize<'de> for UseConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<UseConfig, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = UseConfig;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, or the path of a file like ~/.ssh/config")
            }
            fn visit_bool<E>(self, yes: bool) -> std::result::Result<UseConfig, E> {
                Ok(if yes { UseConfig::Users } else { UseConfig::No })
            }
            fn visit_str<E>(self, path: &str) -> std::result::Result<UseConfig, E> {
                Ok(UseConfig::File(path.into()))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
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
    /// Decodes the options of this struct and of its groups out of a builder's table.
    pub fn take(table: &mut OptionTable<'_>) -> Result<SshOptions> {
        Ok(SshOptions {
            host_key: table.take()?,
            algorithms: table.take()?,
            bastions: table.take()?,
            proxy: table.take()?,
            tunnels: table.take()?,
            ..table.take()?
        })
    }

    /// Lists the options of this struct and of its groups.
    pub fn names() -> Vec<&'static str> {
        [
            fields::<SshOptions>(),
            fields::<HostKeyOptions>(),
            fields::<AlgorithmOptions>(),
            fields::<BastionOptions>(),
            fields::<ProxyOptions>(),
            fields::<TunnelOptions>(),
        ]
        .concat()
    }

    /// Returns the port, 22 by default.
    pub fn port(&self) -> u16 {
        self.ssh_port.unwrap_or(22)
    }

    /// Returns how long to wait for the machine, five minutes by default.
    pub fn timeout(&self) -> Duration {
        self.ssh_timeout.map_or(Duration::from_secs(300), |s| s.0)
    }

    /// Registers the passwords and passphrases as secrets.
    pub fn hide_secrets(&self, cx: &BuildCx) {
        let bastions = &self.bastions;
        let listed = bastions.ssh_bastions.iter().flatten();
        let listed = listed.flat_map(|hop| [(&hop.username, &hop.password), (&None, &hop.private_key_passphrase)]);
        let all = [
            (&self.ssh_username, &self.ssh_password),
            (&None, &self.ssh_private_key_passphrase),
            (&bastions.ssh_bastion_username, &bastions.ssh_bastion_password),
            (&None, &bastions.ssh_bastion_private_key_passphrase),
        ];
        for (user, secret) in all.into_iter().chain(listed) {
            // A password that is the user's name (vagrant's is vagrant) hides nothing, and every path has it.
            if let Some(secret) = secret.as_ref().filter(|secret| user.as_ref() != Some(*secret)) {
                cx.ui.secrets().add(secret);
            }
        }
    }

    /// Checks what can be known without connecting, and registers the passwords as secrets.
    pub fn validate(&self, cx: &BuildCx) -> Result<()> {
        let host = self.ssh_host.as_deref().unwrap_or("127.0.0.1");
        Plan::new(self, host, self.port(), cx)?.inspect(!cx.settings.is_live())
    }
}

/// Returns a path's absolute form: `~/` is the home folder, anything else relative starts at the script.
pub(crate) fn path_of(path: &Path, cx: &BuildCx) -> PathBuf {
    if let Ok(below_home) = path.strip_prefix("~")
        && let Ok(home) = etcetera::home_dir()
    {
        return home.join(below_home);
    }
    cx.settings.resolve(path)
}

pub(super) fn option_error(name: impl Into<String>, message: impl fmt::Display) -> Error {
    let name = name.into();
    Error::new(Kind::Option, format!("option `{name}`: {message}")).field("option", name)
}
