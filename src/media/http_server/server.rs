//! A server for one machine: its port, its connections, its end.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::HttpServerOptions;
use super::site::Site;
use crate::engine::placeholders::Placeholders;
use crate::engine::{BuildCx, ResourceId, Resources};
use crate::error::{Error, Kind, Result};

/// Connections at once; more wait until one of them ends.
const MAX_CONNECTIONS: usize = 256;
/// How long a client may take to say what it wants.
const HEADER_TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 20 });
/// The most a request's head may have.
const MAX_HEADER: usize = 64 << 10;

/// A running server; its port is taken until the build ends or the server is dropped.
pub struct HttpServer {
    /// The port it serves on.
    pub port: u16,
    values: Placeholders,
    stop: CancellationToken,
    resource: ResourceId,
    resources: Resources,
}

impl HttpServer {
    /// Starts to serve what the options say; none when they say nothing. `values` fill in what contents refer to, and get
    /// `HTTPPort`.
    pub async fn start(options: &HttpServerOptions, values: &Placeholders, cx: &BuildCx) -> Result<Option<HttpServer>> {
        if !options.is_given() {
            return Ok(None);
        }
        let (address, (min, max)) = (options.address(), options.ports());
        let (stop, finished) = (CancellationToken::new(), CancellationToken::new());
        let resource = cx.resources.enter_memory("server", format!("HTTP on {address}"), {
            let (stop, finished) = (stop.clone(), finished.clone());
            move || async move {
                stop.cancel();
                finished.cancelled().await;
                Ok(())
            }
        });
        let started = async {
            let listener = bind(address, min, max)?;
            let port = listener.local_addr().map_err(|e| cannot_listen(address, min, max).caused_by(e))?.port();
            let values = values.clone().with("HTTPPort", port.to_string());
            let site = Arc::new(Site::new(options, &values, cx)?);
            Ok((listener, port, values, site))
        };
        let (listener, port, values, site) = match started.await {
            Ok(started) => started,
            Err(error) => {
                cx.resources.forget(resource);
                return Err(error);
            }
        };
        cx.ui.debug(format!("serving HTTP on {}", SocketAddr::new(address, port)));
        tokio::spawn(accept(listener, site, stop.clone(), finished));
        Ok(Some(HttpServer { port, values, stop, resource, resources: cx.resources.clone() }))
    }

    /// Returns the values that contents were filled with: those it was given, and `HTTPPort`.
    pub fn placeholders(&self) -> &Placeholders {
        &self.values
    }

    /// Stops it: the port is free and no connection is left when this returns.
    pub async fn stop(self) -> Result<()> {
        self.resources.release(self.resource).await
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Takes a free port of the range, a random one, so that builds side by side seldom try the same one.
fn bind(address: IpAddr, min: u16, max: u16) -> Result<TcpListener> {
    let count = u32::from(max.saturating_sub(min)) + 1;
    let start = (uuid::Uuid::new_v4().as_u128() % u128::from(count)) as u32;
    let mut last = None;
    for offset in 0..count {
        let port = u32::from(min) + (start + offset) % count;
        let bound = std::net::TcpListener::bind(SocketAddr::new(address, port as u16)).and_then(|listener| {
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        });
        match bound {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == std::io::ErrorKind::AddrNotAvailable => {
                return Err(Error::new(Kind::Host, format!("option `http_bind_address`: this host is not {address}"))
                    .hint("give an address of this host, \"127.0.0.1\", or \"0.0.0.0\" for all of them")
                    .caused_by(error));
            }
            Err(error) => last = Some(error),
        }
    }
    let error = cannot_listen(address, min, max);
    Err(match last {
        Some(cause) if cause.kind() == std::io::ErrorKind::PermissionDenied => {
            error.hint("ports below 1024 are for root: set http_port_min and http_port_max to others").caused_by(cause)
        }
        Some(cause) => error
            .hint("other programs hold them all: set http_port_min and http_port_max to another range")
            .caused_by(cause),
        None => error,
    })
}

fn cannot_listen(address: IpAddr, min: u16, max: u16) -> Error {
    let message = if min == max {
        format!("cannot serve HTTP on {address}, port {min} (http_port_min = http_port_max)")
    } else {
        format!("cannot serve HTTP on {address}: no port from {min} to {max} is free (http_port_min, http_port_max)")
    };
    Error::new(Kind::Host, message)
}

/// Takes connections until it is to stop; then they are ended, finished or not.
async fn accept(listener: TcpListener, site: Arc<Site>, stop: CancellationToken, finished: CancellationToken) {
    let _finished = finished.drop_guard();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, address)) => {
                    connections.spawn(serve(stream, address, site.clone()));
                }
                Err(error) => {
                    // Out of file descriptors, most likely: they come back when connections end.
                    tracing::debug!(%error, "cannot take a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    drop(listener);
    connections.shutdown().await;
}

async fn serve(stream: TcpStream, address: SocketAddr, site: Arc<Site>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let site = site.clone();
        async move { Ok::<_, Infallible>(site.handle(request, address).await.unwrap_or_else(|never| match never {})) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER)
        // A client that says it sends nothing more may still read.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%address, %error, "a connection ended early");
    }
}
