//! One attempt to connect, and how far it came.

use std::borrow::Cow;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use russh::client::{self, Handle};
use russh::keys::{PublicKey, PublicKeyOrCertificate};
use russh::{Preferred, cipher};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::auth;
use super::session::SshCommunicator;
use super::target::Target;
use crate::error::{Error, Kind};

/// How long a server that has shown its banner may take for keys and authentication; an emulated guest is slow.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(60);
/// How many keep-alives may stay unanswered: a paused or overloaded guest is not a dead one.
const KEEP_ALIVE_MAX: usize = 12;
const WINDOW: u32 = 16 << 20;

/// Why an attempt failed, by how far it came.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// The name has no address.
    Resolve(String),
    /// Nothing listens.
    Closed(String),
    /// Something takes connections and says nothing, or hangs up at once.
    Silent(&'static str),
    /// Something answers that is not SSH; its first line.
    NotSsh(String),
    /// It speaks SSH, but keys were not agreed on.
    Handshake { reason: String, lasting: bool },
    /// Another host key than the pinned one.
    HostKey { pinned: String, found: String },
    /// The credentials are refused.
    Auth { tried: Vec<String>, offered: Vec<String>, note: Option<String> },
}

impl Failure {
    /// Says in the words of an error message what was found at the address.
    pub(super) fn describe(&self, user: &str) -> String {
        match self {
            Failure::Resolve(why) => format!("the name cannot be resolved ({why})"),
            Failure::Closed(why) => format!("the port is closed ({why})"),
            Failure::Silent(how) => {
                format!("it accepts connections but does not speak SSH yet: no banner came, {how}")
            }
            Failure::NotSsh(line) => format!("it accepts connections but does not speak SSH: it said {line:?}"),
            Failure::Handshake { reason, .. } => format!("the SSH handshake failed: {reason}"),
            Failure::HostKey { pinned, found } => {
                format!("the host key has changed: expected {pinned}, found {found}")
            }
            Failure::Auth { tried, offered, note } => {
                let list = |names: &[String]| match names {
                    [] => "nothing".to_owned(),
                    names => names.join(", "),
                };
                let note = note.as_ref().map(|n| format!(" ({n})")).unwrap_or_default();
                format!(
                    "authentication failed for user {user}: tried {}; the server offers {}{note}",
                    list(tried),
                    list(offered)
                )
            }
        }
    }

    /// Makes the error a user reads.
    pub(super) fn into_error(self, target: &Target, context: &str) -> Error {
        let kind = match &self {
            Failure::Auth { .. } => Kind::Auth,
            _ => Kind::Connect,
        };
        let message =
            format!("cannot log in to {} over SSH{context}: {}", target.address(), self.describe(&target.user));
        let error = Error::new(kind, message);
        match self {
            Failure::Resolve(_) => error.hint("check the host name in `ssh_host`"),
            Failure::Closed(_) => error.hint("is an SSH server installed and started on the machine, on this port?"),
            Failure::Silent(_) => {
                error.hint("the machine may still be booting: give it a longer `ssh_timeout`, or look at its console")
            }
            Failure::NotSsh(_) => error.hint("check `ssh_port`: another service listens there"),
            Failure::Handshake { .. } => error,
            Failure::HostKey { .. } => error
                .hint("this is another machine than before, or its keys were made anew; a reboot does not change them"),
            Failure::Auth { .. } => {
                error.hint("check `ssh_username`, and `ssh_password`, `ssh_private_key_file` or `ssh_agent_auth`")
            }
        }
    }
}

/// What an attempt has found so far, for the message when its time is up.
#[derive(Debug, Clone, Default)]
pub(super) struct Trace(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    connected: bool,
    /// The first bytes the server sent.
    first: Vec<u8>,
    handshaken: bool,
    tried: Vec<String>,
    offered: Vec<String>,
}

impl Trace {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        match self.0.lock() {
            Ok(seen) => seen,
            Err(poisoned) => poisoned.into_inner(),
        }
    }

    pub(super) fn authenticating(&self, tried: &[String], offered: &[String]) {
        let mut seen = self.lock();
        (seen.tried, seen.offered) = (tried.to_vec(), offered.to_vec());
    }

    /// Returns what to say when the attempt ran out of time here.
    pub(super) fn out_of_time(&self) -> Failure {
        let seen = self.lock();
        if !seen.connected {
            Failure::Closed("no answer to the connection".into())
        } else if seen.handshaken {
            let note = Some("it did not answer in time".into());
            Failure::Auth { tried: seen.tried.clone(), offered: seen.offered.clone(), note }
        } else {
            drop(seen);
            self.before_keys("no answer in time".into(), "in time", false)
        }
    }

    fn before_keys(&self, reason: String, silence: &'static str, lasting: bool) -> Failure {
        let seen = self.lock();
        if seen.first.is_empty() {
            return Failure::Silent(silence);
        }
        // A server may send lines before its banner, so look for one anywhere.
        if !seen.first.starts_with(b"SSH-") && !seen.first.windows(5).any(|w| w == b"\nSSH-") {
            let text = String::from_utf8_lossy(&seen.first);
            return Failure::NotSsh(text.lines().next().unwrap_or_default().chars().take(80).collect());
        }
        Failure::Handshake { reason, lasting }
    }
}

/// A TCP stream that remembers the first bytes received.
struct Traced {
    stream: TcpStream,
    trace: Trace,
    done: bool,
}

impl AsyncRead for Traced {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        if !self.done {
            let fresh = buf.filled().get(before..).unwrap_or_default();
            let mut seen = self.trace.lock();
            let room = 256usize.saturating_sub(seen.first.len()).min(fresh.len());
            seen.first.extend_from_slice(fresh.get(..room).unwrap_or_default());
            let full = seen.first.len() >= 256;
            drop(seen);
            self.done = full;
        }
        result
    }
}

impl AsyncWrite for Traced {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Our side of a connection: checks the host key, and tells when it is gone.
pub(super) struct Client {
    target: Target,
    key: Arc<Mutex<Option<PublicKey>>>,
    /// Cancels the token when the connection's task ends and drops this.
    _gone: DropGuard,
}

impl client::Handler for Client {
    type Error = russh::Error;

    async fn check_server_key(&mut self, presented: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = presented else { return Ok(false) };
        let mut slot = match self.key.lock() {
            Ok(slot) => slot,
            Err(poisoned) => poisoned.into_inner(),
        };
        *slot = Some(key.clone());
        Ok(self.target.host_key.mismatch(key).is_none())
    }
}

fn config(target: &Target) -> client::Config {
    let mut preferred = Preferred {
        // AES-GCM runs in hardware nearly everywhere: measured, ChaCha20 takes 1.6 times as long, and AES-CTR with its MAC
        // twice.
        cipher: Cow::Borrowed(&[
            cipher::AES_128_GCM,
            cipher::AES_256_GCM,
            cipher::CHACHA20_POLY1305,
            cipher::AES_256_CTR,
            cipher::AES_192_CTR,
            cipher::AES_128_CTR,
        ]),
        ..Preferred::DEFAULT
    };
    // A server with several keys shows the kind asked for first: ask for the kind that is pinned.
    if let Some(pinned) = target.host_key.get() {
        let wanted = pinned.algorithm();
        let mut algorithms = preferred.key.into_owned();
        algorithms.sort_by_key(|a| *a != wanted && !(a.clone().is_rsa() && wanted.clone().is_rsa()));
        preferred.key = Cow::Owned(algorithms);
    }
    client::Config {
        window_size: WINDOW,
        maximum_packet_size: 65_535,
        channel_buffer_size: 256,
        preferred,
        keepalive_interval: target.keep_alive,
        keepalive_max: KEEP_ALIVE_MAX,
        nodelay: true,
        ..client::Config::default()
    }
}

/// Connects, checks the host key and logs in. `patience` is how long a server may stay silent.
pub(super) async fn attempt(target: &Target, patience: Duration, trace: &Trace) -> Result<SshCommunicator, Failure> {
    let stream = dial(target).await?;
    trace.lock().connected = true;
    // Without it, a small request waits for the answer to the one before.
    let _ = stream.set_nodelay(true);
    let token = CancellationToken::new();
    let key = Arc::new(Mutex::new(None));
    let handler = Client { target: target.clone(), key: key.clone(), _gone: token.clone().drop_guard() };
    let stream = Traced { stream, trace: trace.clone(), done: false };
    let handshake = client::connect_stream(Arc::new(config(target)), stream, handler);
    tokio::pin!(handshake);
    let early = tokio::time::timeout(patience, &mut handshake).await;
    let connected = match early {
        Ok(result) => result,
        Err(_) if trace.lock().first.is_empty() => return Err(Failure::Silent("in time")),
        Err(_) => tokio::time::timeout(HANDSHAKE_LIMIT, handshake)
            .await
            .map_err(|_| trace.before_keys("no answer in time".into(), "in time", false))?,
    };
    let presented = match key.lock() {
        Ok(key) => key.clone(),
        Err(poisoned) => poisoned.into_inner().clone(),
    };
    let mut handle: Handle<Client> = connected.map_err(|error| {
        let mismatch = presented.as_ref().and_then(|key| target.host_key.mismatch(key));
        if let (russh::Error::UnknownKey, Some((pinned, found))) = (&error, mismatch) {
            return Failure::HostKey { pinned, found };
        }
        let lasting = matches!(error, russh::Error::NoCommonAlgo { .. });
        trace.before_keys(error.to_string(), "and the connection was closed", lasting)
    })?;
    trace.lock().handshaken = true;
    match tokio::time::timeout(HANDSHAKE_LIMIT, auth::authenticate(&mut handle, target, trace)).await {
        Ok(result) => result?,
        Err(_) => return Err(trace.out_of_time()),
    }
    // Only now: a booting machine may still replace the keys of its image before it lets anyone in.
    if let Some(key) = presented {
        target.host_key.pin(&key);
    }
    Ok(SshCommunicator::new(handle, token, target))
}

async fn dial(target: &Target) -> Result<TcpStream, Failure> {
    let addresses: Vec<_> = tokio::net::lookup_host((target.host.as_str(), target.port))
        .await
        .map_err(|e| Failure::Resolve(e.to_string()))?
        .collect();
    let mut why = "the name has no address".to_owned();
    for address in addresses {
        match tokio::time::timeout(target.connect_timeout, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => why = error.kind().to_string(),
            Err(_) => why = format!("no answer within {:?}", target.connect_timeout),
        }
    }
    Err(Failure::Closed(why))
}
