//! Hosts on the way to the machine, each with its own credentials.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;

use super::options::option_error;
use crate::error::Result;

/// The hosts to go through on the way to the machine.
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BastionOptions {
    /// A host to go through: its name or address.
    pub ssh_bastion_host: Option<String>,
    /// Its TCP port; default 22.
    pub ssh_bastion_port: Option<u16>,
    /// The user there; default `ssh_username`.
    pub ssh_bastion_username: Option<String>,
    /// The user's password there.
    pub ssh_bastion_password: Option<String>,
    /// The private key for it; without any credentials of its own, `ssh_private_key_file` is used.
    pub ssh_bastion_private_key_file: Option<PathBuf>,
    /// What unlocks that key.
    pub ssh_bastion_private_key_passphrase: Option<String>,
    /// The certificate of that key.
    pub ssh_bastion_certificate_file: Option<PathBuf>,
    /// Whether the agent's keys are tried there; default false.
    pub ssh_bastion_agent_auth: bool,
    /// Whether the password is also tried by keyboard-interactive there; default true.
    pub ssh_bastion_interactive: Option<bool>,
    /// Its host key, as in `ssh_host_key`; default: the first one seen is pinned.
    pub ssh_bastion_host_key: Option<String>,
    /// Several hosts to go through, in their order, in place of the `ssh_bastion_…` options.
    pub ssh_bastions: Option<Vec<Bastion>>,
}

/// One host to go through.
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Bastion {
    /// Its name or address.
    pub host: String,
    /// Its TCP port; default 22.
    pub port: Option<u16>,
    /// The user there; default `ssh_username`.
    pub username: Option<String>,
    /// The user's password there.
    pub password: Option<String>,
    /// The private key for it; without any credentials of its own, `ssh_private_key_file` is used.
    pub private_key_file: Option<PathBuf>,
    /// What unlocks that key.
    pub private_key_passphrase: Option<String>,
    /// The certificate of that key.
    pub certificate_file: Option<PathBuf>,
    /// Whether the agent's keys are tried there; default false.
    pub agent_auth: bool,
    /// Whether the password is also tried by keyboard-interactive there; default true.
    pub interactive: Option<bool>,
    /// Its host key, as in `ssh_host_key`; default: the first one seen is pinned.
    pub host_key: Option<String>,
}

impl fmt::Debug for BastionOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BastionOptions").field("ssh_bastion_host", &self.ssh_bastion_host).finish_non_exhaustive()
    }
}

impl fmt::Debug for Bastion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bastion").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

/// Where a bastion's options stand, to name them in errors.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// Among the machine's own options, with this beginning: `ssh_` or `ssh_bastion_`.
    Prefix(&'static str),
    /// The nth entry of `ssh_bastions`, from 1.
    Entry(usize),
    /// Named by `ProxyJump` in a configuration.
    Config,
}

impl Place {
    /// Returns the name of an option there.
    pub(super) fn option(self, name: &str) -> String {
        match self {
            Place::Prefix(prefix) => format!("{prefix}{name}"),
            Place::Entry(n) => format!("ssh_bastions[{n}].{name}"),
            Place::Config => "ssh_use_config".into(),
        }
    }
}

impl BastionOptions {
    /// Lists the hosts to go through.
    pub(super) fn hops(&self) -> Result<Vec<(Place, Bastion)>> {
        let single = Bastion {
            host: self.ssh_bastion_host.clone().unwrap_or_default(),
            port: self.ssh_bastion_port,
            username: self.ssh_bastion_username.clone(),
            password: self.ssh_bastion_password.clone(),
            private_key_file: self.ssh_bastion_private_key_file.clone(),
            private_key_passphrase: self.ssh_bastion_private_key_passphrase.clone(),
            certificate_file: self.ssh_bastion_certificate_file.clone(),
            agent_auth: self.ssh_bastion_agent_auth,
            interactive: self.ssh_bastion_interactive,
            host_key: self.ssh_bastion_host_key.clone(),
        };
        match (&self.ssh_bastion_host, &self.ssh_bastions) {
            (Some(_), Some(_)) => Err(option_error(
                "ssh_bastions",
                "is given together with ssh_bastion_host: the list has all hosts to go through, in their order",
            )),
            (Some(_), None) => {
                Ok(vec![(Place::Prefix("ssh_bastion_"), single.checked(Place::Prefix("ssh_bastion_"))?)])
            }
            (None, list) => {
                if let Some(option) = single.given() {
                    return Err(option_error(format!("ssh_bastion_{option}"), "is given without ssh_bastion_host"));
                }
                let list = list.iter().flatten().enumerate();
                list.map(|(index, hop)| Ok((Place::Entry(index + 1), hop.clone().checked(Place::Entry(index + 1))?)))
                    .collect()
            }
        }
    }
}

impl Bastion {
    /// Returns the name of an option that is given beside the host.
    fn given(&self) -> Option<&'static str> {
        [
            ("port", self.port.is_some()),
            ("username", self.username.is_some()),
            ("password", self.password.is_some()),
            ("private_key_file", self.private_key_file.is_some()),
            ("private_key_passphrase", self.private_key_passphrase.is_some()),
            ("certificate_file", self.certificate_file.is_some()),
            ("agent_auth", self.agent_auth),
            ("interactive", self.interactive.is_some()),
            ("host_key", self.host_key.is_some()),
        ]
        .into_iter()
        .find_map(|(name, given)| given.then_some(name))
    }

    fn checked(self, place: Place) -> Result<Bastion> {
        if self.host.is_empty() {
            return Err(option_error(
                place.option("host"),
                "is required: the name or address of the host to go through",
            ));
        }
        if self.interactive == Some(true) && self.password.is_none() {
            return Err(option_error(
                place.option("interactive"),
                "answers hidden prompts with the password, and there is none",
            )
            .hint(format!("give `{}`", place.option("password"))));
        }
        Ok(self)
    }
}
