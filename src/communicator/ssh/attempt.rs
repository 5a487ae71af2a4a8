//! One attempt to connect: keys are agreed on, the host key is checked, the user is logged in.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use russh::Channel;
use russh::client::{self, ChannelOpenHandle, Handle, Msg, Session};
use russh::keys::{Algorithm, PublicKey, PublicKeyOrCertificate};
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::algorithms::nothing_in_common;
use super::auth;
use super::failure::{Failed, Failure, Trace};
use super::route::{Link, Route, Stream, Traced};
use super::session::SshCommunicator;
use super::target::Target;
use super::tunnel::{self, Tunnels};

const WINDOW: u32 = 16 << 20;

/// Our side of a connection: checks the host key, answers what the server opens, and tells when it is gone.
pub(super) struct Client {
    target: Target,
    key: Arc<Mutex<Option<PublicKey>>>,
    tunnels: Tunnels,
    /// The socket of the agent that the machine may use.
    agent: Option<PathBuf>,
    /// What carries connections that the server opened; ends with the connection's task, which drops this.
    tasks: JoinSet<()>,
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

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        channel: Channel<Msg>,
        _: &str,
        port: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.tunnels.arrived(channel, port, reply, &mut self.tasks).await;
        Ok(())
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        // A server that asks without having been allowed to is not answered: dropping the reply refuses.
        let Some(socket) = self.agent.clone() else { return Ok(()) };
        while self.tasks.try_join_next().is_some() {}
        self.tasks.spawn(async move {
            match UnixStream::connect(&socket).await {
                Ok(stream) => {
                    reply.accept().await;
                    tunnel::exchange(stream, channel.into_stream()).await;
                }
                Err(error) => tracing::warn!(socket = %socket.display(), %error, "the agent does not answer"),
            }
        });
        Ok(())
    }

    // Everything else that a server could open is nothing we asked for; dropping the reply refuses.

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        Ok(())
    }

    async fn server_channel_open_session(
        &mut self,
        _: Channel<Msg>,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        Ok(())
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        Ok(())
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        Ok(())
    }

    async fn server_channel_open_x11(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        Ok(())
    }
}

fn config(target: &Target, unwanted: &[Algorithm]) -> client::Config {
    let mut config = client::Config {
        window_size: WINDOW,
        maximum_packet_size: 65_535,
        channel_buffer_size: 256,
        preferred: target.algorithms.preferred(&target.host_key.kinds(), unwanted),
        keepalive_interval: target.keep_alive,
        keepalive_max: target.keep_alive_max,
        inactivity_timeout: target.read_write_timeout,
        nodelay: true,
        ..client::Config::default()
    };
    // Servers of the time before 2020 have groups of 2048 bits; larger ones are preferred still.
    if let Ok(gex) = client::GexParams::new(2048, 4096, 8192) {
        config.gex = gex;
    }
    config
}

/// Connects to the machine over every host on the way, and makes its tunnels. `patience` is how long a server may stay
/// silent.
pub(super) async fn attempt(
    target: &Target,
    patience: Duration,
    trace: &Trace,
    route: &mut Route,
) -> Result<SshCommunicator, Failed> {
    let link = route.walk(target, patience, trace).await?;
    let asked = tokio::time::timeout(target.handshake_timeout, target.tunnels.ask(&link.handle)).await;
    match asked {
        Ok(Ok(())) => {}
        Ok(Err(refused)) => return Err(Failed { hop: None, failure: Failure::Tunnel(refused) }),
        Err(_) => return Err(trace.out_of_time()),
    }
    Ok(SshCommunicator::new(link, std::mem::take(route), target))
}

/// Agrees on keys over a fresh connection, checks the host key and logs in.
pub(super) async fn log_in(
    target: &Target,
    stream: Box<dyn Stream>,
    unwanted: &[Algorithm],
    patience: Duration,
    trace: &Trace,
) -> Result<Link, Failure> {
    trace.lock().connected = true;
    let gone = CancellationToken::new();
    let key = Arc::new(Mutex::new(None));
    let handler = Client {
        target: target.clone(),
        key: key.clone(),
        tunnels: target.tunnels.clone(),
        agent: target.forward_agent.clone(),
        tasks: JoinSet::new(),
        _gone: gone.clone().drop_guard(),
    };
    let stream = Traced::new(stream, trace);
    let handshake = client::connect_stream(Arc::new(config(target, unwanted)), stream, handler);
    tokio::pin!(handshake);
    let limit = target.handshake_timeout;
    let early = tokio::time::timeout(patience.min(limit), &mut handshake).await;
    let connected = match early {
        Ok(result) => result,
        Err(_) if trace.lock().first.is_empty() => return Err(Failure::Silent("in time")),
        Err(_) => tokio::time::timeout(limit, handshake)
            .await
            .map_err(|_| trace.before_keys("no answer in time".into(), "in time"))?,
    };
    let presented = match key.lock() {
        Ok(key) => key.clone(),
        Err(poisoned) => poisoned.into_inner().clone(),
    };
    let mut handle: Handle<Client> = connected.map_err(|error| {
        if let (russh::Error::UnknownKey, Some(key)) = (&error, &presented)
            && let Some((expected, found)) = target.host_key.mismatch(key)
        {
            return Failure::HostKey { expected, found, kind: key.algorithm() };
        }
        if let russh::Error::NoCommonAlgo { kind, ours, theirs } = &error {
            let (message, hints) = nothing_in_common(kind, ours, theirs);
            let host_keys = matches!(kind, russh::AlgorithmKind::Key);
            return Failure::Negotiation { message, hints, host_keys };
        }
        trace.before_keys(error.to_string(), "and the connection was closed")
    })?;
    trace.lock().handshaken = true;
    match tokio::time::timeout(limit, auth::authenticate(&mut handle, target, trace)).await {
        Ok(result) => result?,
        Err(_) => return Err(trace.out_of_time().failure),
    }
    // Only now: a booting machine may still replace the keys of its image before it lets anyone in.
    if let Some(key) = presented {
        target.host_key.pin(&key);
    }
    Ok(Link { handle, gone })
}
