//! Where to connect to, as whom, and what the other side must be.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use russh::keys::{HashAlg, PrivateKey, PublicKey};

use super::keys;
use super::method::FileTransferMethod;
use super::options::SshOptions;
use crate::engine::{BuildCx, Seconds};
use crate::error::{Error, Kind, Result};

/// A private key and what to call it in an error.
#[derive(Clone)]
pub(super) struct NamedKey {
    pub name: String,
    pub key: Arc<PrivateKey>,
}

/// What the machine is shown to let us in, in the order in which it is tried.
#[derive(Clone, Default)]
pub struct Credentials {
    pub(super) keys: Vec<NamedKey>,
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

/// The host key of one machine: the one it must have, or the first one seen. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct HostKey(Arc<Mutex<Option<PublicKey>>>);

impl HostKey {
    fn lock(&self) -> MutexGuard<'_, Option<PublicKey>> {
        match self.0.lock() {
            Ok(key) => key,
            Err(poisoned) => poisoned.into_inner(),
        }
    }

    /// Returns the pinned key.
    pub fn get(&self) -> Option<PublicKey> {
        self.lock().clone()
    }

    /// Pins `key` unless one is pinned already.
    pub(super) fn pin(&self, key: &PublicKey) {
        self.lock().get_or_insert_with(|| key.clone());
    }

    /// Returns both fingerprints when a key is pinned and `found` is another one.
    pub(super) fn mismatch(&self, found: &PublicKey) -> Option<(String, String)> {
        let pinned = self.lock();
        let pinned = pinned.as_ref()?;
        (pinned.key_data() != found.key_data()).then(|| (fingerprint(pinned), fingerprint(found)))
    }
}

/// Returns a key's type and fingerprint as `ssh-keygen -l` shows them.
pub(super) fn fingerprint(key: &PublicKey) -> String {
    format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256))
}

/// One machine as SSH sees it. Clones share the pinned host key.
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
    pub(super) keep_alive: Option<Duration>,
    pub(super) file_transfer_method: Option<FileTransferMethod>,
}

impl Target {
    /// Makes a target from validated options; reads the private key and registers the secrets.
    pub async fn new(options: &SshOptions, host: impl Into<String>, port: u16, cx: &BuildCx) -> Result<Target> {
        options.validate(cx)?;
        let mut credentials = Credentials {
            password: options.ssh_password.clone(),
            keyboard_interactive: options.ssh_keyboard_interactive.unwrap_or(true),
            ..Credentials::default()
        };
        if let Some(path) = options.private_key_path(cx) {
            let name = format!("key {}", path.display());
            let passphrase = options.ssh_private_key_passphrase.clone();
            let key = tokio::task::spawn_blocking(move || keys::load(&path, passphrase.as_deref()))
                .await
                .map_err(|e| Error::new(Kind::Internal, "reading a private key was interrupted").caused_by(e))??;
            credentials.keys.push(NamedKey { name, key: Arc::new(key) });
        }
        if options.ssh_agent_auth {
            credentials.agent = std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from);
        }
        let keep_alive = options.ssh_keep_alive_interval.map_or(Duration::from_secs(5), |Seconds(d)| d);
        Ok(Target {
            host: host.into(),
            port,
            user: options.ssh_username.clone().unwrap_or_default(),
            credentials,
            host_key: HostKey::default(),
            patient_auth: false,
            installing: false,
            attempts: options.ssh_handshake_attempts,
            connect_timeout: options.ssh_connect_timeout.map_or(Duration::from_secs(10), |Seconds(d)| d),
            keep_alive: (!keep_alive.is_zero()).then_some(keep_alive),
            file_transfer_method: options.ssh_file_transfer_method,
        })
    }

    /// Adds a key that was made for this machine; it is tried first.
    #[must_use]
    pub fn with_key(mut self, key: &keys::TemporaryKey) -> Self {
        let key = NamedKey { name: "the temporary key".into(), key: key.private.clone() };
        self.credentials.keys.insert(0, key);
        self
    }

    /// Uses the agent that listens on `socket`, whatever the environment says.
    #[must_use]
    pub fn with_agent(mut self, socket: impl Into<PathBuf>) -> Self {
        self.credentials.agent = Some(socket.into());
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
    pub fn expect_host_key(self, key: &PublicKey) -> Self {
        *self.host_key.lock() = Some(key.clone());
        self
    }

    /// Returns `host:port` for messages.
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}
