//! Small proxies on loopback: SOCKS5 (RFC 1928, RFC 1929) and HTTP CONNECT.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Socks5,
    Http,
}

/// A running proxy; dropping it ends it.
pub struct Proxy {
    pub port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    /// Starts a proxy; with a login, nobody else is let through.
    pub async fn start(kind: Kind, login: Option<(&str, &str)>) -> Proxy {
        let login = login.map(|(user, password)| (user.to_owned(), password.to_owned()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let list = asked.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (login, list) = (login.clone(), list.clone());
                connections.spawn(async move {
                    let _ = match kind {
                        Kind::Socks5 => socks5(stream, login, list).await,
                        Kind::Http => http(stream, login, list).await,
                    };
                });
            }
        });
        Proxy { port, asked, task }
    }

    /// Returns the destinations that were asked for, `host:port`.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

type Login = Option<(String, String)>;

async fn socks5(mut stream: TcpStream, login: Login, asked: Arc<Mutex<Vec<String>>>) -> std::io::Result<()> {
    assert_eq!(stream.read_u8().await?, 5);
    let count = stream.read_u8().await?;
    let mut methods = vec![0; count.into()];
    stream.read_exact(&mut methods).await?;
    let wanted = if login.is_some() { 2 } else { 0 };
    if !methods.contains(&wanted) {
        return stream.write_all(&[5, 0xff]).await;
    }
    stream.write_all(&[5, wanted]).await?;
    if let Some((user, password)) = login {
        assert_eq!(stream.read_u8().await?, 1);
        let mut given = Vec::new();
        for _ in 0..2 {
            let mut text = vec![0; stream.read_u8().await?.into()];
            stream.read_exact(&mut text).await?;
            given.push(String::from_utf8(text).unwrap());
        }
        let right = given == [user, password];
        stream.write_all(&[1, u8::from(!right)]).await?;
        if !right {
            return Ok(());
        }
    }
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let host = match head[3] {
        1 => std::net::Ipv4Addr::from(stream.read_u32().await?).to_string(),
        3 => {
            let mut name = vec![0; stream.read_u8().await?.into()];
            stream.read_exact(&mut name).await?;
            String::from_utf8(name).unwrap()
        }
        _ => return Ok(()),
    };
    let port = stream.read_u16().await?;
    asked.lock().unwrap().push(format!("{host}:{port}"));
    match TcpStream::connect((host.as_str(), port)).await {
        Ok(mut far) => {
            stream.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 0]).await?;
            tokio::io::copy_bidirectional(&mut stream, &mut far).await.map(drop)
        }
        Err(_) => stream.write_all(&[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]).await,
    }
}

async fn http(stream: TcpStream, login: Login, asked: Arc<Mutex<Vec<String>>>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        if line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    let place = lines[0].split(' ').nth(1).unwrap().to_owned();
    if let Some((user, password)) = login {
        let right = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        if !lines.contains(&format!("Proxy-Authorization: Basic {right}")) {
            return stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await;
        }
    }
    asked.lock().unwrap().push(place.clone());
    match TcpStream::connect(&place).await {
        Ok(mut far) => {
            stream.write_all(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n").await?;
            tokio::io::copy_bidirectional(&mut stream, &mut far).await.map(drop)
        }
        Err(_) => stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await,
    }
}
