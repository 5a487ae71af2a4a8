//! Why an attempt to connect failed, and how far it came.

use std::sync::{Arc, Mutex, MutexGuard};

use russh::keys::Algorithm;

use super::host_key;
use super::target::{Target, address};
use super::tunnel::Refused;
use crate::error::{Error, Kind};

/// Why an attempt failed, by how far it came.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// The name has no address.
    Resolve(String),
    /// Nothing listens.
    Closed(String),
    /// The proxy does not lead there; `lasting` if it never will.
    Proxy { proxy: String, why: String, lasting: bool },
    /// The host before it does not lead there.
    Forward(String),
    /// Something takes connections and says nothing, or hangs up at once.
    Silent(&'static str),
    /// Something answers that is not SSH; its first line.
    NotSsh(String),
    /// It speaks SSH, but keys were not agreed on.
    Handshake(String),
    /// No algorithm that both sides know.
    Negotiation { message: String, hints: Vec<String>, host_keys: bool },
    /// Another host key than the right one.
    HostKey { expected: String, found: String, kind: Algorithm },
    /// The credentials are refused.
    Auth { tried: Vec<String>, offered: Vec<String>, note: Option<String>, hint: Option<String> },
    /// The server does not listen for a remote tunnel.
    Tunnel(Refused),
}

/// A failure, and at which of the hosts on the way it happened; none is the machine itself.
#[derive(Debug, Clone)]
pub(super) struct Failed {
    pub hop: Option<usize>,
    pub failure: Failure,
}

impl Failure {
    /// Says in the words of an error message what was found at the address.
    pub(super) fn describe(&self, user: &str) -> String {
        match self {
            Failure::Resolve(why) => format!("the name cannot be resolved ({why})"),
            Failure::Closed(why) => format!("the port is closed ({why})"),
            Failure::Proxy { proxy, why, .. } => format!("{proxy} does not lead there: {why}"),
            Failure::Forward(why) => format!("the bastion does not lead there: {why}"),
            Failure::Silent(how) => {
                format!("it accepts connections but does not speak SSH yet: no banner came, {how}")
            }
            Failure::NotSsh(line) => format!("it accepts connections but does not speak SSH: it said {line:?}"),
            Failure::Handshake(reason) => format!("the SSH handshake failed: {reason}"),
            Failure::Negotiation { message, .. } => format!("the SSH handshake failed: {message}"),
            Failure::HostKey { expected, found, .. } => {
                format!("the host key has changed: expected {expected}, found {found}")
            }
            Failure::Auth { tried, offered, note, .. } => {
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
            Failure::Tunnel(Refused { port, why }) => {
                format!("the remote tunnel from its port {port} could not be made: {why}")
            }
        }
    }

    fn hint(self, error: Error, bastion: bool) -> Error {
        match self {
            Failure::Resolve(_) if bastion => error.hint("check the bastion's host name"),
            Failure::Resolve(_) => error.hint("check the host name in `ssh_host`"),
            Failure::Closed(_) => error.hint("is an SSH server installed and started on the machine, on this port?"),
            Failure::Proxy { lasting: true, .. } => error.hint(
                "check `ssh_proxy_type`, `ssh_proxy_host` and `ssh_proxy_port`, and `ssh_proxy_username` and `ssh_proxy_password`",
            ),
            Failure::Proxy { .. } => error.hint("is the machine up, and may the proxy reach this port of it?"),
            Failure::Forward(_) => error
                .hint("is the machine up, and can the bastion reach it under this name and port?")
                .hint("the bastion's sshd_config must allow forwarding: AllowTcpForwarding, PermitOpen"),
            Failure::Silent(_) => {
                error.hint("the machine may still be booting: give it a longer `ssh_timeout`, or look at its console")
            }
            Failure::NotSsh(_) => error.hint("check `ssh_port`: another service listens there"),
            Failure::Handshake(_) => error,
            Failure::Negotiation { hints, .. } => hints.into_iter().fold(error, Error::hint),
            Failure::HostKey { .. } => host_key::explain(error),
            Failure::Auth { hint, .. } => {
                let error = if bastion {
                    error.hint("check the bastion's user name, and its password, private key file or agent")
                } else {
                    error.hint("check `ssh_username`, and `ssh_password`, `ssh_private_key_file` or `ssh_agent_auth`")
                };
                match hint {
                    Some(hint) => error.hint(hint),
                    None => error,
                }
            }
            Failure::Tunnel(Refused { port, .. }) => error
                .hint(format!("is port {port} of the machine taken? to see by what: ss -ltnp 'sport = :{port}'"))
                .hint("its sshd_config must allow it: AllowTcpForwarding, PermitListen; ports below 1024 are for root"),
        }
    }
}

impl Failed {
    /// Says what was found, and where.
    pub(super) fn describe(&self, target: &Target) -> String {
        self.failure.describe(&self.at(target).user)
    }

    fn at<'a>(&self, target: &'a Target) -> &'a Target {
        self.hop.and_then(|hop| target.via.get(hop)).unwrap_or(target)
    }

    /// Makes the error a user reads.
    pub(super) fn into_error(self, target: &Target, context: &str) -> Error {
        let kind = match &self.failure {
            Failure::Auth { .. } => Kind::Auth,
            _ => Kind::Connect,
        };
        let at = self.at(target);
        let place = match (self.hop, target.via.last()) {
            (Some(_), _) => format!("the bastion {}", at.address()),
            (None, Some(last)) => format!("{} through {}", at.address(), last.address()),
            (None, None) => at.address(),
        };
        let message = format!("cannot log in to {place} over SSH{context}: {}", self.failure.describe(&at.user));
        self.failure.hint(Error::new(kind, message), self.hop.is_some())
    }
}

/// What an attempt has found so far, for the message when its time is up.
#[derive(Debug, Clone, Default)]
pub(super) struct Trace(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
pub(super) struct Seen {
    pub hop: Option<usize>,
    pub connected: bool,
    /// The first bytes the server sent.
    pub first: Vec<u8>,
    pub handshaken: bool,
    tried: Vec<String>,
    offered: Vec<String>,
}

impl Trace {
    pub(super) fn lock(&self) -> MutexGuard<'_, Seen> {
        match self.0.lock() {
            Ok(seen) => seen,
            Err(poisoned) => poisoned.into_inner(),
        }
    }

    /// Begins with the next host on the way.
    pub(super) fn restart(&self, hop: Option<usize>) {
        *self.lock() = Seen { hop, ..Seen::default() };
    }

    pub(super) fn authenticating(&self, tried: &[String], offered: &[String]) {
        let mut seen = self.lock();
        (seen.tried, seen.offered) = (tried.to_vec(), offered.to_vec());
    }

    /// Returns what to say when the attempt ran out of time here.
    pub(super) fn out_of_time(&self) -> Failed {
        let seen = self.lock();
        let hop = seen.hop;
        let failure = if !seen.connected {
            Failure::Closed("no answer to the connection".into())
        } else if seen.handshaken {
            let note = Some("it did not answer in time".into());
            Failure::Auth { tried: seen.tried.clone(), offered: seen.offered.clone(), note, hint: None }
        } else {
            drop(seen);
            self.before_keys("no answer in time".into(), "in time")
        };
        Failed { hop, failure }
    }

    /// Returns what to say when the connection ended before keys were agreed on.
    pub(super) fn before_keys(&self, reason: String, silence: &'static str) -> Failure {
        let seen = self.lock();
        if seen.first.is_empty() {
            return Failure::Silent(silence);
        }
        // A server may send lines before its banner, so look for one anywhere.
        if !seen.first.starts_with(b"SSH-") && !seen.first.windows(5).any(|w| w == b"\nSSH-") {
            let text = String::from_utf8_lossy(&seen.first);
            return Failure::NotSsh(text.lines().next().unwrap_or_default().chars().take(80).collect());
        }
        Failure::Handshake(reason)
    }
}

/// Says what a bastion answered to the wish for a connection.
pub(super) fn forward_refused(error: &russh::Error, host: &str, port: u16) -> Failure {
    use russh::ChannelOpenFailure as Why;
    let to = address(host, port);
    Failure::Forward(match error {
        russh::Error::ChannelOpenFailure(Why::AdministrativelyProhibited) => {
            format!("it does not allow connections to {to}")
        }
        russh::Error::ChannelOpenFailure(Why::ConnectFailed) => format!("it cannot connect to {to}"),
        other => format!("{to}: {other}"),
    })
}
