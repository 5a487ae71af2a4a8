//! A TCP proxy that counts what passes, and cuts connections off.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A running proxy; dropping it ends it.
pub struct Proxy {
    pub port: u16,
    state: Arc<State>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    passed: AtomicU64,
    connections: AtomicU64,
    /// How many connections are still to be cut off.
    cuts: AtomicI64,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    /// Starts one in front of a port: the first `cuts` connections end after `after` bytes.
    pub async fn start(to: u16, cuts: i64, after: u64) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State { cuts: AtomicI64::new(cuts), ..State::default() });
        let shared = state.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let limit = (shared.cuts.fetch_sub(1, Ordering::SeqCst) > 0).then_some(after);
                connections.spawn(forward(client, server, shared.clone(), limit));
            }
        });
        Proxy { port, state, task }
    }

    /// Returns how many bytes passed, both ways.
    pub fn passed(&self) -> u64 {
        self.state.passed.load(Ordering::SeqCst)
    }

    /// Returns how many connections there were.
    pub fn connections(&self) -> u64 {
        self.state.connections.load(Ordering::SeqCst)
    }
}

async fn forward(client: TcpStream, server: TcpStream, state: Arc<State>, limit: Option<u64>) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let here = Arc::new(AtomicU64::new(0));
    let pump = async |mut from: tokio::net::tcp::OwnedReadHalf, mut to: tokio::net::tcp::OwnedWriteHalf| {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            state.passed.fetch_add(count as u64, Ordering::SeqCst);
            let all = here.fetch_add(count as u64, Ordering::SeqCst) + count as u64;
            if limit.is_some_and(|limit| all > limit) || to.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    };
    // Either end's end is both's.
    tokio::select! {
        () = pump(from_client, to_server) => {}
        () = pump(from_server, to_client) => {}
    }
}
