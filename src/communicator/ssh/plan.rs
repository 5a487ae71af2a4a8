//! From options (and `~/.ssh/config`) to the hosts to log in to, before anything is read or connected.

use std::path::PathBuf;
use std::time::Duration;

use super::algorithms::{AlgorithmOptions, Algorithms};
use super::bastion::{Bastion, Place};
use super::config::{self, Asked, Found, JumpHost};
use super::host_key::HostKey;
use super::keys;
use super::options::{SshOptions, UseConfig, option_error, path_of};
use super::proxy::Proxy;
use super::target::address;
use super::tunnel::Tunnel;
use crate::engine::{BuildCx, Seconds};
use crate::error::Result;

/// How many hosts may be on the way: more is a circle of ProxyJumps.
const MOST_HOPS: usize = 16;

/// One private key file to log in with.
#[derive(Clone)]
pub(super) struct Identity {
    pub path: PathBuf,
    pub certificate: Option<PathBuf>,
    /// Whether it only might be there, or might be locked: named by a configuration.
    pub optional: bool,
}

/// One host to log in to.
#[derive(Clone)]
pub(super) struct Peer {
    pub place: Place,
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: Option<String>,
    pub identities: Vec<Identity>,
    pub passphrase: Option<String>,
    /// The agent's socket.
    pub agent: Option<PathBuf>,
    pub interactive: bool,
    pub algorithms: Algorithms,
    pub host_key: HostKey,
    pub connect_timeout: Option<Duration>,
    pub keep_alive: Option<Duration>,
    pub keep_alive_max: Option<u32>,
}

/// Everything that leads to a machine.
pub(super) struct Plan {
    pub peer: Peer,
    pub via: Vec<Peer>,
    pub proxy: Option<Proxy>,
    pub local_tunnels: Vec<Tunnel>,
    pub remote_tunnels: Vec<Tunnel>,
    /// The socket of the agent that the machine may use.
    pub forward_agent: Option<PathBuf>,
}

/// The part of a peer that its options give, the machine's or a bastion's.
struct Given<'a> {
    place: Place,
    host: &'a str,
    port: Option<u16>,
    default_port: u16,
    user: Option<&'a str>,
    password: Option<&'a str>,
    key: Option<PathBuf>,
    passphrase: Option<&'a str>,
    certificate: Option<PathBuf>,
    agent_auth: bool,
    interactive: bool,
}

fn agent_socket() -> Option<PathBuf> {
    std::env::var_os("SSH_AUTH_SOCK").filter(|v| !v.is_empty()).map(PathBuf::from)
}

fn wanted_agent(option: String) -> Result<PathBuf> {
    agent_socket().ok_or_else(|| {
        option_error(option, "is set, but SSH_AUTH_SOCK is not: no agent runs here")
            .hint("start one with: eval \"$(ssh-agent)\" && ssh-add")
    })
}

struct Planner<'a> {
    options: &'a SshOptions,
    cx: &'a BuildCx,
    config: Option<PathBuf>,
    home: PathBuf,
}

impl Plan {
    /// Makes the plan for a machine that is called `host`; `port` counts where neither the options nor a configuration
    /// names one.
    pub(super) fn new(options: &SshOptions, host: &str, port: u16, cx: &BuildCx) -> Result<Plan> {
        let home = etcetera::home_dir().unwrap_or_default();
        let config = match &options.ssh_use_config {
            UseConfig::No => None,
            UseConfig::Users => Some(home.join(".ssh/config")),
            UseConfig::File(path) => Some(path_of(path, cx)),
        };
        options.hide_secrets(cx);
        let planner = Planner { options, cx, config, home };
        if options.ssh_port == Some(0) {
            return Err(option_error("ssh_port", "expected a port from 1 to 65535, found 0"));
        }
        let (peer, jumps) = planner.machine(host, port)?;
        let bastions = options.bastions.hops()?;
        let via = if bastions.is_empty() {
            planner.jumps(jumps, 0)?
        } else {
            let peers = bastions.iter().map(|(place, bastion)| planner.bastion(*place, bastion, &peer));
            peers.collect::<Result<Vec<_>>>()?
        };
        let forward_agent = match options.ssh_disable_agent_forwarding {
            Some(false) => Some(wanted_agent("ssh_disable_agent_forwarding".into())?),
            _ => None,
        };
        Ok(Plan {
            peer,
            via,
            proxy: options.proxy.proxy(cx)?,
            local_tunnels: options.tunnels.local()?,
            remote_tunnels: options.tunnels.remote()?,
            forward_agent,
        })
    }

    /// Checks the key files; with `thorough`, also that the passphrases fit, which takes a good part of a second each.
    pub(super) fn inspect(&self, thorough: bool) -> Result<()> {
        for peer in self.via.iter().chain([&self.peer]) {
            peer.load_keys(thorough)?;
        }
        Ok(())
    }
}

impl Peer {
    /// Makes one that there is nothing to log in to with yet.
    pub(super) fn bare(host: String, port: u16, user: String, algorithms: Algorithms) -> Peer {
        Peer {
            place: Place::Config,
            host,
            port,
            user,
            password: None,
            identities: Vec::new(),
            passphrase: None,
            agent: None,
            interactive: true,
            algorithms,
            host_key: HostKey::default(),
            connect_timeout: None,
            keep_alive: None,
            keep_alive_max: None,
        }
    }

    /// Reads the private keys. Blocking. Without `unlock`, those with a passphrase are left out.
    pub(super) fn load_keys(&self, unlock: bool) -> Result<Vec<keys::Loaded>> {
        let mut loaded = Vec::new();
        for identity in &self.identities {
            let names = keys::Names {
                file: self.place.option("private_key_file"),
                passphrase: self.place.option("private_key_passphrase"),
                certificate: self.place.option("certificate_file"),
            };
            match keys::load_with(identity, self.passphrase.as_deref(), unlock, &names) {
                Ok(key) => loaded.extend(key),
                Err(error) if identity.optional => {
                    tracing::debug!(path = %identity.path.display(), %error, "a key of the configuration is passed over");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(loaded)
    }
}

impl Planner<'_> {
    fn machine(&self, host: &str, port: u16) -> Result<(Peer, Vec<JumpHost>)> {
        let options = self.options;
        if options.ssh_private_key_file.is_none() {
            if options.ssh_certificate_file.is_some() {
                return Err(option_error("ssh_certificate_file", "is given without ssh_private_key_file"));
            }
            if options.ssh_private_key_passphrase.is_some() && self.config.is_none() {
                return Err(option_error("ssh_private_key_passphrase", "is given without ssh_private_key_file"));
            }
        }
        let (mut peer, jumps) = self.peer(
            &Given {
                place: Place::Prefix("ssh_"),
                host,
                port: options.ssh_port,
                default_port: port,
                user: options.ssh_username.as_deref().filter(|user| !user.is_empty()),
                password: options.ssh_password.as_deref(),
                key: options.ssh_private_key_file.as_ref().map(|path| path_of(path, self.cx)),
                passphrase: options.ssh_private_key_passphrase.as_deref(),
                certificate: options.ssh_certificate_file.as_ref().map(|path| path_of(path, self.cx)),
                agent_auth: options.ssh_agent_auth,
                interactive: options.ssh_keyboard_interactive.unwrap_or(true),
            },
            &options.algorithms,
        )?;
        peer.host_key = options.host_key.expected(&peer.host, peer.port, self.cx)?;
        Ok((peer, jumps))
    }

    fn bastion(&self, place: Place, hop: &Bastion, machine: &Peer) -> Result<Peer> {
        if hop.private_key_file.is_none() {
            for (name, given) in [
                ("private_key_passphrase", hop.private_key_passphrase.is_some()),
                ("certificate_file", hop.certificate_file.is_some()),
            ] {
                if given && self.config.is_none() {
                    let key = place.option("private_key_file");
                    return Err(option_error(place.option(name), format!("is given without {key}")));
                }
            }
        }
        let (mut peer, _) = self.peer(
            &Given {
                place,
                host: &hop.host,
                port: hop.port,
                default_port: 22,
                user: hop.username.as_deref().or(self.config.is_none().then_some(&machine.user)),
                password: hop.password.as_deref(),
                key: hop.private_key_file.as_ref().map(|path| path_of(path, self.cx)),
                passphrase: hop.private_key_passphrase.as_deref(),
                certificate: hop.certificate_file.as_ref().map(|path| path_of(path, self.cx)),
                agent_auth: hop.agent_auth,
                interactive: hop.interactive.unwrap_or(true),
            },
            &self.options.algorithms,
        )?;
        if peer.password.is_none() && peer.identities.is_empty() && peer.agent.is_none() {
            // As in Packer, one key for both is enough.
            peer.identities = machine.identities.clone();
            peer.passphrase = machine.passphrase.clone();
            peer.agent = machine.agent.clone();
            if peer.identities.is_empty() && peer.agent.is_none() {
                return Err(option_error(
                    place.option("host"),
                    format!("there is nothing to log in to {} with", hop.host),
                )
                .hint(format!(
                    "give `{}`, `{}` or `{}`",
                    place.option("private_key_file"),
                    place.option("password"),
                    place.option("agent_auth")
                )));
            }
        }
        if let Some(text) = &hop.host_key {
            peer.host_key = HostKey::parse(&place.option("host_key"), text)?;
        }
        Ok(peer)
    }

    /// Turns ProxyJump's list into hosts; the first one's own ProxyJump comes before it.
    fn jumps(&self, jumps: Vec<JumpHost>, depth: usize) -> Result<Vec<Peer>> {
        if depth + jumps.len() > MOST_HOPS {
            return Err(option_error("ssh_use_config", "the ProxyJumps lead in a circle, or over more than 16 hosts"));
        }
        let mut peers = Vec::new();
        for (index, jump) in jumps.iter().enumerate() {
            let (peer, before) = self.peer(
                &Given {
                    place: Place::Config,
                    host: &jump.host,
                    port: jump.port,
                    default_port: 22,
                    user: jump.user.as_deref(),
                    password: None,
                    key: None,
                    passphrase: self.options.ssh_private_key_passphrase.as_deref(),
                    certificate: None,
                    agent_auth: self.options.ssh_agent_auth,
                    interactive: false,
                },
                &self.options.algorithms,
            )?;
            if index == 0 && !before.is_empty() {
                peers.extend(self.jumps(before, depth + jumps.len())?);
            }
            peers.push(peer);
        }
        Ok(peers)
    }

    fn peer(&self, given: &Given<'_>, algorithms: &AlgorithmOptions) -> Result<(Peer, Vec<JumpHost>)> {
        if given.port == Some(0) {
            return Err(option_error(given.place.option("port"), "expected a port from 1 to 65535, found 0"));
        }
        let found = match &self.config {
            Some(path) => self.look_up(path, given)?,
            None => Found::default(),
        };
        let user = given.user.map(str::to_owned).or(found.user);
        let user = match (user, given.place) {
            (Some(user), _) => user,
            // As ssh itself has it.
            (None, Place::Config) => local_user(),
            (None, _) => {
                return Err(option_error(given.place.option("username"), "is required: the user to log in as").hint(
                    "images have their own: `debian` and `ubuntu` on cloud images, `vagrant` on boxes, or `root`",
                ));
            }
        };
        let mut identities = Vec::new();
        if let Some(path) = &given.key {
            identities.push(Identity { path: path.clone(), certificate: given.certificate.clone(), optional: false });
        }
        let mut agent = if given.agent_auth { Some(wanted_agent(given.place.option("agent_auth"))?) } else { None };
        if self.config.is_some() {
            let named = !found.identity_files.is_empty();
            let paths = if named { found.identity_files } else { self.usual_keys(given) };
            for (index, path) in paths.into_iter().enumerate() {
                let certificate = found.certificate_files.get(index).cloned().or_else(|| certificate_beside(&path));
                identities.push(Identity { path, certificate, optional: true });
            }
            let only = found.identities_only || given.key.is_some() || given.password.is_some();
            agent = match found.identity_agent {
                Some(socket) => socket,
                None if agent.is_none() && !only => agent_socket(),
                None => agent,
            };
        }
        let mut algorithms = algorithms.clone();
        let configured = found.algorithms;
        algorithms.ssh_ciphers = algorithms.ssh_ciphers.or(configured.ssh_ciphers);
        algorithms.ssh_key_exchange_algorithms =
            algorithms.ssh_key_exchange_algorithms.or(configured.ssh_key_exchange_algorithms);
        algorithms.ssh_macs = algorithms.ssh_macs.or(configured.ssh_macs);
        algorithms.ssh_host_key_algorithms = algorithms.ssh_host_key_algorithms.or(configured.ssh_host_key_algorithms);
        let peer = Peer {
            place: given.place,
            host: found.host_name.unwrap_or_else(|| given.host.to_owned()),
            port: given.port.or(found.port).unwrap_or(given.default_port),
            user,
            password: given.password.map(str::to_owned),
            identities,
            passphrase: given.passphrase.map(str::to_owned),
            agent,
            interactive: given.interactive,
            algorithms: Algorithms::new(&algorithms)?,
            host_key: HostKey::default(),
            connect_timeout: self.options.ssh_connect_timeout.map(|Seconds(d)| d).or(found.connect_timeout),
            keep_alive: self.options.ssh_keep_alive_interval.map(|Seconds(d)| d).or(found.server_alive_interval),
            keep_alive_max: found.server_alive_count_max,
        };
        tracing::debug!(address = %address(&peer.host, peer.port), user = %peer.user, "a host to log in to");
        Ok((peer, found.proxy_jump.unwrap_or_default()))
    }

    fn look_up(&self, path: &std::path::Path, given: &Given<'_>) -> Result<Found> {
        config::lookup(
            path,
            &Asked {
                host: given.host.to_owned(),
                user: given.user.map(str::to_owned),
                port: given.port,
                local_user: local_user(),
                home: self.home.clone(),
            },
        )
    }

    /// Returns the keys that ssh tries when nothing says which.
    fn usual_keys(&self, given: &Given<'_>) -> Vec<PathBuf> {
        if given.key.is_some() || given.password.is_some() {
            return Vec::new();
        }
        let names = ["id_rsa", "id_ecdsa", "id_ed25519"];
        names.iter().map(|name| self.home.join(".ssh").join(name)).filter(|path| path.is_file()).collect()
    }
}

fn certificate_beside(key: &std::path::Path) -> Option<PathBuf> {
    let mut name = key.as_os_str().to_owned();
    name.push("-cert.pub");
    Some(PathBuf::from(name)).filter(|path| path.is_file())
}

fn local_user() -> String {
    ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok()).unwrap_or_else(|| "root".into())
}
