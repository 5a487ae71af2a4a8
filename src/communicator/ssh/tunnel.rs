//! Ports that are carried to and fro over the connection, written as OpenSSH's `-L` and `-R` have it.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::FutureExt as _;
use russh::Channel;
use russh::client::{ChannelOpenHandle, Handle, Msg};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OnceCell;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::attempt::Client;
use super::options::option_error;
use super::target::address;
use crate::error::{Error, Kind, Result};

const LOCAL: &str = "ssh_local_tunnels";
const REMOTE: &str = "ssh_remote_tunnels";

/// Ports that are carried over the connection while it lives, and again after a reconnect.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TunnelOptions {
    /// Ports of this host that lead to what the machine reaches, `"8080:localhost:80"`.
    pub ssh_local_tunnels: Vec<String>,
    /// Ports of the machine that lead to what this host reaches, `"8080:localhost:80"`.
    pub ssh_remote_tunnels: Vec<String>,
}

impl TunnelOptions {
    pub(crate) fn local(&self) -> Result<Vec<Tunnel>> {
        parse_all(LOCAL, &self.ssh_local_tunnels)
    }

    pub(super) fn remote(&self) -> Result<Vec<Tunnel>> {
        parse_all(REMOTE, &self.ssh_remote_tunnels)
    }
}

/// One port and where it leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tunnel {
    /// The address to listen on; by default the loopback's.
    pub bind: Option<String>,
    pub port: u16,
    pub to_host: String,
    pub to_port: u16,
}

fn parse_all(option: &'static str, list: &[String]) -> Result<Vec<Tunnel>> {
    let mut tunnels = Vec::new();
    let mut taken = HashSet::new();
    for text in list {
        let tunnel = parse(text).ok_or_else(|| {
            option_error(option, format!("expected [address:]port:host:hostport, found {text:?}")).hint(
                "as in `ssh -L` and `ssh -R`: \"8080:localhost:80\", \"127.0.0.1:8080:db:5432\", \"9000:[::1]:80\"",
            )
        })?;
        // The server says which port a connection came to, and its address in its own words.
        let place = if option == REMOTE { None } else { tunnel.bind.clone() };
        if !taken.insert((place, tunnel.port)) {
            return Err(option_error(option, format!("port {} is named twice", tunnel.port)));
        }
        tunnels.push(tunnel);
    }
    Ok(tunnels)
}

fn parse(text: &str) -> Option<Tunnel> {
    let mut parts: Vec<String> = Vec::new();
    let mut rest = text.trim();
    loop {
        if let Some(bracketed) = rest.strip_prefix('[') {
            let (host, after) = bracketed.split_once(']')?;
            parts.push(host.to_owned());
            match after.strip_prefix(':') {
                Some(after) => rest = after,
                None if after.is_empty() => break,
                None => return None,
            }
        } else if let Some((part, after)) = rest.split_once(':') {
            parts.push(part.to_owned());
            rest = after;
        } else {
            parts.push(rest.to_owned());
            break;
        }
    }
    let port = |text: &String| text.parse::<u16>().ok().filter(|port| *port > 0);
    let (bind, [near, host, far]) = match parts.as_slice() {
        [near, host, far] => (None, [near, host, far]),
        [bind, near, host, far] => (Some(bind.clone()), [near, host, far]),
        _ => return None,
    };
    let to_host = Some(host.clone()).filter(|host| !host.is_empty())?;
    Some(Tunnel { bind: bind.filter(|b| !b.is_empty()), port: port(near)?, to_host, to_port: port(far)? })
}

/// The tunnels of one machine. The ports of this host stay ours from the first connection on, so that a reboot of the
/// machine does not lose them to somebody else. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Tunnels(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    local: Vec<Tunnel>,
    remote: Vec<Tunnel>,
    listeners: OnceCell<Vec<Arc<TcpListener>>>,
}

/// A remote tunnel that could not be made, for messages.
#[derive(Debug, Clone)]
pub(super) struct Refused {
    pub port: u16,
    pub why: String,
}

impl Tunnels {
    pub(super) fn new(local: Vec<Tunnel>, remote: Vec<Tunnel>) -> Tunnels {
        Tunnels(Arc::new(Inner { local, remote, listeners: OnceCell::new() }))
    }

    /// Takes the ports of this host, unless they are ours already.
    pub(super) async fn listen(&self) -> Result<()> {
        let listen = || async {
            let mut listeners = Vec::new();
            for tunnel in &self.0.local {
                let bind = tunnel.bind.as_deref().map_or("127.0.0.1", |b| if b == "*" { "0.0.0.0" } else { b });
                let listener = TcpListener::bind((bind, tunnel.port)).await.map_err(|e| busy(bind, tunnel.port, e))?;
                listeners.push(Arc::new(listener));
            }
            Ok(listeners)
        };
        self.0.listeners.get_or_try_init(listen).await.map(drop)
    }

    /// Starts to carry what arrives at the ports of this host; the tasks end with the set.
    pub(super) fn carry(&self, handle: &Arc<Handle<Client>>, gone: &CancellationToken, tasks: &mut JoinSet<()>) {
        let listeners = self.0.listeners.get().map(Vec::as_slice).unwrap_or_default();
        for (listener, tunnel) in listeners.iter().zip(&self.0.local) {
            let accepting = accept(listener.clone(), tunnel.clone(), Arc::downgrade(handle));
            // The next connection's tasks take over then.
            tasks.spawn(gone.clone().run_until_cancelled_owned(accepting).map(drop));
        }
    }

    /// Asks the server to listen on the ports of the machine.
    pub(super) async fn ask(&self, handle: &Handle<Client>) -> std::result::Result<(), Refused> {
        for tunnel in &self.0.remote {
            let bind = tunnel.bind.as_deref().map_or("localhost", |b| if b == "*" { "" } else { b });
            handle.tcpip_forward(bind, u32::from(tunnel.port)).await.map_err(|e| Refused {
                port: tunnel.port,
                why: match e {
                    russh::Error::RequestDenied => "the server refuses".into(),
                    other => other.to_string(),
                },
            })?;
        }
        Ok(())
    }

    /// Returns where a port of the machine leads.
    fn destination(&self, port: u32) -> Option<&Tunnel> {
        self.0.remote.iter().find(|tunnel| u32::from(tunnel.port) == port)
    }

    /// Answers a connection that came to a port of the machine.
    pub(super) async fn arrived(
        &self,
        channel: Channel<Msg>,
        port: u32,
        reply: ChannelOpenHandle,
        tasks: &mut JoinSet<()>,
    ) {
        let Some(tunnel) = self.destination(port) else {
            return reply.reject(russh::ChannelOpenFailure::AdministrativelyProhibited).await;
        };
        let (host, port) = (tunnel.to_host.clone(), tunnel.to_port);
        // Not here: the server's messages wait meanwhile.
        tasks.spawn(async move {
            match TcpStream::connect((host.as_str(), port)).await {
                Ok(stream) => {
                    reply.accept().await;
                    exchange(stream, channel.into_stream()).await;
                }
                Err(error) => {
                    tracing::warn!(to = %address(&host, port), %error, "a remote tunnel leads nowhere");
                    reply.reject(russh::ChannelOpenFailure::ConnectFailed).await;
                }
            }
        });
        // Those that are over.
        while tasks.try_join_next().is_some() {}
    }
}

fn busy(bind: &str, port: u16, error: std::io::Error) -> Error {
    let place = address(bind, port);
    let option =
        |message: String| Error::new(Kind::Connect, format!("option `{LOCAL}`: {message}")).field("option", LOCAL);
    let error = match error.kind() {
        std::io::ErrorKind::AddrInUse => option(format!("port {port} is taken: another program listens on {place}"))
            .hint(format!("to see which: ss -ltnp 'sport = :{port}'; or choose another port")),
        std::io::ErrorKind::PermissionDenied => {
            option(format!("this user may not listen on {place}")).hint("ports below 1024 are for root")
        }
        _ => option(format!("cannot listen on {place}")),
    }
    .caused_by(error);
    error.field("port", port)
}

async fn accept(listener: Arc<TcpListener>, tunnel: Tunnel, handle: std::sync::Weak<Handle<Client>>) {
    let mut tasks = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = tasks.join_next() => continue,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: others will be given back.
                tracing::warn!(%error, "a tunnel's connection was lost");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(handle) = handle.upgrade() else { return };
        let tunnel = tunnel.clone();
        tasks.spawn(async move {
            let opened = handle
                .channel_open_direct_tcpip(
                    tunnel.to_host.clone(),
                    u32::from(tunnel.to_port),
                    from.ip().to_string(),
                    u32::from(from.port()),
                )
                .await;
            drop(handle);
            match opened {
                Ok(channel) => exchange(stream, channel.into_stream()).await,
                Err(error) => {
                    let to = address(&tunnel.to_host, tunnel.to_port);
                    tracing::warn!(%to, %error, "a local tunnel leads nowhere");
                }
            }
        });
    }
}

/// Carries bytes both ways until both sides are done.
pub(super) async fn exchange<A, B>(mut near: A, mut far: B)
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    if let Err(error) = tokio::io::copy_bidirectional_with_sizes(&mut near, &mut far, 64 << 10, 64 << 10).await {
        tracing::debug!(%error, "a tunnel's connection broke off");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tunnels_are_written_as_openssh_does() {
        let tunnel = |bind: Option<&str>, port, host: &str, to_port| {
            Some(Tunnel { bind: bind.map(Into::into), port, to_host: host.into(), to_port })
        };
        assert_eq!(parse("8080:localhost:80"), tunnel(None, 8080, "localhost", 80));
        assert_eq!(parse("0.0.0.0:1:db:2"), tunnel(Some("0.0.0.0"), 1, "db", 2));
        assert_eq!(parse("[::1]:1:[fe80::1]:2"), tunnel(Some("::1"), 1, "fe80::1", 2));
        assert_eq!(parse("*:1:h:2"), tunnel(Some("*"), 1, "h", 2));
        assert_eq!(parse(":1:h:2"), tunnel(None, 1, "h", 2));
        for text in ["", "80", "80:host", "0:h:1", "1:h:0", "1::2", "1:h:70000", "a:b:c:d:e", "1:[h:2", "1:[h]x:2"] {
            assert_eq!(parse(text), None, "{text}");
        }
        let error = parse_all(LOCAL, &["8080".into()]).unwrap_err();
        assert!(error.message().contains("expected [address:]port:host:hostport, found \"8080\""), "{error}");
        let twice = parse_all(LOCAL, &["80:a:1".into(), "80:b:2".into()]).unwrap_err();
        assert!(twice.message().contains("port 80 is named twice"), "{twice}");
    }

    proptest! {
        #[test]
        fn any_text_is_a_tunnel_or_refused(text in "\\PC{0,30}") {
            let _ = parse(&text);
        }

        #[test]
        fn tunnels_round_trip(port in 1u16.., host in "[a-z0-9.-]{1,12}", to in 1u16..) {
            let tunnel = parse(&format!("{port}:{host}:{to}")).unwrap();
            prop_assert_eq!((tunnel.bind, tunnel.port, tunnel.to_host, tunnel.to_port), (None, port, host, to));
        }
    }
}
