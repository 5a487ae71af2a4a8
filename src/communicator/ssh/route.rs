//! The way to the machine: directly, through a proxy, over hosts in between.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use russh::client::Handle;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::attempt::{self, Client};
use super::failure::{Failed, Failure, Trace, forward_refused};
use super::proxy::{Proxy, Refusal};
use super::target::Target;

/// What SSH is spoken over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// One live, authenticated connection.
pub(super) struct Link {
    pub handle: Handle<Client>,
    /// Cancelled when the connection is gone.
    pub gone: CancellationToken,
}

/// The connections to the hosts on the way. They are kept from one attempt to the next, as a machine that boots must not
/// cost a login on each of them every half second.
#[derive(Default)]
pub(super) struct Route(Vec<Link>);

impl Route {
    /// Connects to every host on the way and to the machine.
    pub(super) async fn walk(&mut self, target: &Target, patience: Duration, trace: &Trace) -> Result<Link, Failed> {
        // What comes after a dead host is dead, too.
        if let Some(dead) = self.0.iter().position(|link| link.gone.is_cancelled()) {
            self.0.truncate(dead);
        }
        while let Some(next) = target.via.get(self.0.len()) {
            let hop = Some(self.0.len());
            let link = self.reach(target, next, hop, patience, trace).await;
            self.0.push(link.map_err(|failure| Failed { hop, failure })?);
        }
        self.reach(target, target, None, patience, trace).await.map_err(|failure| Failed { hop: None, failure })
    }

    /// Logs in to the next host, asking for one kind of host key after the other where only a fingerprint is known.
    async fn reach(
        &self,
        target: &Target,
        next: &Target,
        hop: Option<usize>,
        patience: Duration,
        trace: &Trace,
    ) -> Result<Link, Failure> {
        let (mut unwanted, mut shown) = (Vec::new(), Vec::new());
        let mut wanted = String::new();
        loop {
            trace.restart(hop);
            let stream = self.open(target, next).await?;
            match attempt::log_in(next, stream, &unwanted, patience, trace).await {
                Err(Failure::HostKey { expected, found, kind }) if next.host_key.of_any_kind() => {
                    unwanted.push(kind);
                    shown.push(found);
                    wanted = expected;
                }
                Err(Failure::Negotiation { host_keys: true, .. }) if !shown.is_empty() => {
                    let kind = unwanted.pop().unwrap_or(russh::keys::Algorithm::Ed25519);
                    return Err(Failure::HostKey { expected: wanted, found: shown.join(" and "), kind });
                }
                other => return other,
            }
        }
    }

    /// Opens the connection that the next host's SSH is spoken over.
    async fn open(&self, target: &Target, next: &Target) -> Result<Box<dyn Stream>, Failure> {
        let Some(link) = self.0.last() else { return first(next, target.proxy.as_deref()).await };
        let opening = link.handle.channel_open_direct_tcpip(next.host.clone(), u32::from(next.port), "127.0.0.1", 0);
        let channel = match tokio::time::timeout(next.connect_timeout, opening).await {
            Ok(opened) => opened.map_err(|e| forward_refused(&e, &next.host, next.port))?,
            Err(_) => return Err(Failure::Forward(format!("it did not answer within {:?}", next.connect_timeout))),
        };
        Ok(Box::new(channel.into_stream()))
    }
}

async fn first(next: &Target, proxy: Option<&Proxy>) -> Result<Box<dyn Stream>, Failure> {
    let Some(proxy) = proxy else {
        return Ok(Box::new(dial(&next.host, next.port, next.connect_timeout).await?));
    };
    let fail = |why: String, lasting| Failure::Proxy { proxy: proxy.describe(), why, lasting };
    let mut stream = dial(&proxy.host, proxy.port, next.connect_timeout)
        .await
        .map_err(|failure| fail(failure.describe(""), false))?;
    // The proxy connects in turn, so it may take as long again.
    let passing = proxy.pass(&mut stream, &next.host, next.port);
    match tokio::time::timeout(next.connect_timeout * 2, passing).await {
        Ok(Ok(())) => Ok(Box::new(stream)),
        Ok(Err(Refusal::Unreachable(why))) => Err(fail(why, false)),
        Ok(Err(Refusal::Denied(why) | Refusal::Protocol(why))) => Err(fail(why, true)),
        Err(_) => Err(fail("it did not answer in time".into(), false)),
    }
}

async fn dial(host: &str, port: u16, limit: Duration) -> Result<TcpStream, Failure> {
    let addresses: Vec<_> =
        tokio::net::lookup_host((host, port)).await.map_err(|e| Failure::Resolve(e.to_string()))?.collect();
    let mut why = "the name has no address".to_owned();
    for address in addresses {
        match tokio::time::timeout(limit, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Without it, a small request waits for the answer to the one before.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => why = error.kind().to_string(),
            Err(_) => why = format!("no answer within {limit:?}"),
        }
    }
    Err(Failure::Closed(why))
}

/// A stream that remembers the first bytes received.
pub(super) struct Traced {
    stream: Box<dyn Stream>,
    trace: Trace,
    done: bool,
}

impl Traced {
    pub(super) fn new(stream: Box<dyn Stream>, trace: &Trace) -> Traced {
        Traced { stream, trace: trace.clone(), done: false }
    }
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
