//! Where to connect to, as whom, and what the other side must be.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use russh::keys::PublicKey;

use super::algorithms::Algorithms;
use super::host_key::HostKey;
use super::keys::{self, Loaded};
use super::method::FileTransferMethod;
use super::options::SshOptions;
use super::plan::{Peer, Plan};
use super::proxy::Proxy;
use super::tunnel::Tunnels;
use crate::engine::{BuildCx, Seconds};
use crate::error::{Context, Kind, Result};

/// How long a server that has shown its banner may take for keys and authentication; an emulated guest is slow.
const HANDSHAKE: Duration = Duration::from_secs(60);
const CONNECT: Duration = Duration::from_secs(10);
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// How many keep-alives may stay unanswered: a paused or overloaded guest is not a dead one.
const KEEP_ALIVE_MAX: u32 = 12;

/// What the machine is shown to let us in, in the order in which it is tried.
#[derive(Clone, Default)]
pub struct Credentials {
    pub(super) keys: Vec<Loaded>,
    /// The agent's socket.
    pub(super) agent: Option<PathBuf>,
    pub(super) password: Option<String>,
    pub(super) keyboard_interactive: bool,
}

impl Credentials {
    /// Returns the public half of the first key, as a line of `authorized_keys`.
    pub fn public_key(&self) -> Option<String> {
        self.keys.first().and_then(|named| named.key.public_key().to_openssh().ok())
    }
}

/// A pause after the first login, and whether it is over.
#[derive(Debug)]
pub(super) struct Pause {
    pub length: Duration,
    pub over: AtomicBool,
}

/// One machine as SSH sees it. Clones share the pinned host key and the tunnels.
#[derive(Clone)]
pub struct Target {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub credentials: Credentials,
    pub host_key: HostKey,
    /// Whether the machine may be booting, so that refused credentials may yet be taken (a key still to be planted).
    pub patient_auth: bool,
    /// Whether an installer runs there first, so that nothing its own server does is final.
    pub(super) installing: bool,
    pub(super) attempts: Option<u32>,
    pub(super) connect_timeout: Duration,
    pub(super) handshake_timeout: Duration,
    pub(super) keep_alive: Option<Duration>,
    pub(super) file_transfer_method: Option<FileTransferMethod>,
    pub(super) keep_alive_max: usize,
    pub(super) read_write_timeout: Option<Duration>,
    pub(super) algorithms: Algorithms,
    /// The hosts to go through, in their order; each has an empty list itself.
    pub(super) via: Vec<Target>,
    pub(super) proxy: Option<Arc<Proxy>>,
    pub(super) tunnels: Tunnels,
    pub(super) pty: bool,
    pub(super) forward_agent: Option<PathBuf>,
    pub(super) pause: Option<Arc<Pause>>,
}

impl Target {
    /// Makes a target from options; reads the private keys and registers the secrets. `port` counts where neither the
    /// options nor a configuration file names one.
    pub async fn new(options: &SshOptions, host: impl Into<String>, port: u16, cx: &BuildCx) -> Result<Target> {
        let plan = Plan::new(options, &host.into(), port, cx)?;
        let mut target = Target::of(plan.peer, options, cx).await?;
        for peer in plan.via {
            target.via.push(Target::of(peer, options, cx).await?);
        }
        let pause = options.pause_before_connecting.map(|Seconds(length)| length).filter(|length| !length.is_zero());
        target.attempts = options.ssh_handshake_attempts;
        target.proxy = plan.proxy.map(Arc::new);
        target.tunnels = Tunnels::new(plan.local_tunnels, plan.remote_tunnels);
        target.pty = options.ssh_pty;
        target.forward_agent = plan.forward_agent;
        target.pause = pause.map(|length| Arc::new(Pause { length, over: AtomicBool::new(false) }));
        Ok(target)
    }

    async fn of(peer: Peer, options: &SshOptions, cx: &BuildCx) -> Result<Target> {
        let copy = peer.clone();
        let keys = tokio::task::spawn_blocking(move || copy.load_keys(true)).await.map_err(keys::interrupted)??;
        for key in &keys {
            cx.ui.secrets().add(&key.text);
        }
        Ok(Target::with_keys(peer, keys, options))
    }

    pub(super) fn with_keys(peer: Peer, keys: Vec<Loaded>, options: &SshOptions) -> Target {
        let seconds = |limit: Option<Seconds>| limit.map(|Seconds(d)| d).filter(|d| !d.is_zero());
        Target {
            host: peer.host,
            port: peer.port,
            user: peer.user,
            credentials: Credentials {
                keys,
                agent: peer.agent,
                password: peer.password,
                keyboard_interactive: peer.interactive,
            },
            host_key: peer.host_key,
            patient_auth: false,
            installing: false,
            attempts: None,
            connect_timeout: peer.connect_timeout.unwrap_or(CONNECT),
            handshake_timeout: seconds(options.ssh_handshake_timeout).unwrap_or(HANDSHAKE),
            keep_alive: Some(peer.keep_alive.unwrap_or(KEEP_ALIVE)).filter(|interval| !interval.is_zero()),
            keep_alive_max: usize::try_from(peer.keep_alive_max.unwrap_or(KEEP_ALIVE_MAX)).unwrap_or(usize::MAX),
            read_write_timeout: seconds(options.ssh_read_write_timeout),
            algorithms: peer.algorithms,
            via: Vec::new(),
            proxy: None,
            tunnels: Tunnels::default(),
            pty: false,
            forward_agent: None,
            pause: None,
            file_transfer_method: options.ssh_file_transfer_method,
        }
    }

    /// Adds a key that was made for this machine; it is tried first.
    #[must_use]
    pub fn with_key(mut self, key: &keys::TemporaryKey) -> Self {
        let key = Loaded {
            name: "the temporary key".into(),
            key: key.private.clone(),
            certificate: None,
            text: String::new(),
        };
        self.credentials.keys.insert(0, key);
        self
    }

    /// Uses the agent that listens on `socket`, whatever the environment says.
    #[must_use]
    pub fn with_agent(mut self, socket: impl Into<PathBuf>) -> Self {
        self.credentials.agent = Some(socket.into());
        self
    }

    /// Lets the machine use the agent that listens on `socket`.
    #[must_use]
    pub fn forwarding_agent(mut self, socket: impl Into<PathBuf>) -> Self {
        self.forward_agent = Some(socket.into());
        self
    }

    /// Says that the machine may be booting still: refused credentials are tried again.
    #[must_use]
    pub fn booting(mut self) -> Self {
        self.patient_auth = true;
        self
    }

    /// Says that an installer runs on the machine first: another server than the one that is waited for may answer.
    #[must_use]
    pub fn installing(mut self) -> Self {
        self.patient_auth = true;
        self.installing = true;
        self
    }

    /// Says which host key the machine must have, from the first connection on.
    #[must_use]
    pub fn expect_host_key(mut self, key: &PublicKey) -> Self {
        self.host_key = HostKey::exactly(key);
        self
    }

    /// The same, with the key as [`Target::host_key_line`] has written it.
    pub fn expect_host_key_line(self, line: &str) -> Result<Self> {
        let key =
            PublicKey::from_openssh(line).context(Kind::Internal, "cannot read a host key that was written down")?;
        Ok(self.expect_host_key(&key))
    }

    /// Returns the host key that the machine was seen with, or must have, as a line of text.
    pub fn host_key_line(&self) -> Option<String> {
        self.host_key.get().and_then(|key| key.to_openssh().ok())
    }

    /// Returns `host:port` for messages.
    pub fn address(&self) -> String {
        address(&self.host, self.port)
    }
}

/// Returns `host:port`, an IPv6 address in brackets.
pub(super) fn address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
