//! Reaching a server through a proxy: SOCKS5 (RFC 1928, RFC 1929) or HTTP CONNECT (RFC 9110, section 9.3.6).

use std::fmt;
use std::net::IpAddr;

use base64::Engine as _;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::options::option_error;
use crate::engine::BuildCx;
use crate::error::Result;

/// An answer to CONNECT that is longer than this is not one.
const LONGEST_ANSWER: usize = 16 << 10;

/// Which proxy leads to the machine, or to the first bastion.
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProxyOptions {
    /// The proxy's name or address. Names of machines are resolved by the proxy.
    pub ssh_proxy_host: Option<String>,
    /// The proxy's TCP port; default 1080, and 8080 for `http`.
    pub ssh_proxy_port: Option<u16>,
    /// The user, where the proxy wants one.
    pub ssh_proxy_username: Option<String>,
    /// The user's password.
    pub ssh_proxy_password: Option<String>,
    /// What it speaks: `socks5` or `http` (CONNECT); default `socks5`.
    pub ssh_proxy_type: ProxyType,
}

impl fmt::Debug for ProxyOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyOptions").field("ssh_proxy_host", &self.ssh_proxy_host).finish_non_exhaustive()
    }
}

/// What a proxy speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyType {
    /// RFC 1928.
    #[default]
    Socks5,
    /// HTTP CONNECT.
    Http,
}

impl ProxyOptions {
    /// Returns the proxy, where one is asked for.
    pub(super) fn proxy(&self, cx: &BuildCx) -> Result<Option<Proxy>> {
        if let Some(secret) = &self.ssh_proxy_password {
            cx.ui.secrets().add(secret);
        }
        let Some(host) = &self.ssh_proxy_host else {
            let others = [
                ("ssh_proxy_port", self.ssh_proxy_port.is_some()),
                ("ssh_proxy_username", self.ssh_proxy_username.is_some()),
                ("ssh_proxy_password", self.ssh_proxy_password.is_some()),
                ("ssh_proxy_type", self.ssh_proxy_type != ProxyType::default()),
            ];
            return match others.iter().find(|(_, given)| *given) {
                Some((option, _)) => Err(option_error(*option, "is given without ssh_proxy_host")),
                None => Ok(None),
            };
        };
        if host.is_empty() || host.contains('/') {
            return Err(option_error("ssh_proxy_host", format!("expected a name or an address, found {host:?}"))
                .hint("the kind of proxy is said by `ssh_proxy_type`, the port by `ssh_proxy_port`"));
        }
        let default = if self.ssh_proxy_type == ProxyType::Http { 8080 } else { 1080 };
        let port = self.ssh_proxy_port.unwrap_or(default);
        if port == 0 {
            return Err(option_error("ssh_proxy_port", "expected a port from 1 to 65535, found 0"));
        }
        let login = match (&self.ssh_proxy_username, &self.ssh_proxy_password) {
            (None, Some(_)) => return Err(option_error("ssh_proxy_password", "is given without ssh_proxy_username")),
            (None, None) => None,
            (Some(user), password) => Some((user.clone(), password.clone().unwrap_or_default())),
        };
        if let Some((user, password)) = &login
            && self.ssh_proxy_type == ProxyType::Socks5
            && (user.is_empty() || user.len() > 255 || password.len() > 255)
        {
            return Err(option_error(
                "ssh_proxy_username",
                "SOCKS5 takes a user name and a password of at most 255 bytes each",
            ));
        }
        Ok(Some(Proxy { host: host.clone(), port, kind: self.ssh_proxy_type, login }))
    }
}

/// A proxy and how to be let through.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Proxy {
    pub host: String,
    pub port: u16,
    kind: ProxyType,
    login: Option<(String, String)>,
}

/// Why a proxy did not lead to the server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The proxy cannot reach the server now.
    Unreachable(String),
    /// It will not let us through, now or later.
    Denied(String),
    /// It does not speak as it should.
    Protocol(String),
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Refusal {
        match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Refusal::Protocol("it closed the connection".into()),
            kind => Refusal::Protocol(kind.to_string()),
        }
    }
}

impl Proxy {
    /// Returns what the proxy is, for messages.
    pub(super) fn describe(&self) -> String {
        let kind = match self.kind {
            ProxyType::Socks5 => "SOCKS5",
            ProxyType::Http => "HTTP",
        };
        format!("the {kind} proxy {}", super::target::address(&self.host, self.port))
    }

    /// Asks on a fresh connection to the proxy for one to `host`.
    pub(super) async fn pass<S>(&self, stream: &mut S, host: &str, port: u16) -> std::result::Result<(), Refusal>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        match self.kind {
            ProxyType::Socks5 => self.socks5(stream, host, port).await,
            ProxyType::Http => self.http(stream, host, port).await,
        }
    }

    async fn socks5<S>(&self, stream: &mut S, host: &str, port: u16) -> std::result::Result<(), Refusal>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        // Without a login, or with one.
        stream.write_all(if self.login.is_some() { &[5, 2, 0, 2] } else { &[5, 1, 0] }).await?;
        let [version, method] = read::<2, _>(stream).await?;
        if version != 5 {
            return Err(Refusal::Protocol("it does not speak SOCKS5".into()));
        }
        match (method, &self.login) {
            (0, _) => {}
            (2, Some((user, password))) => {
                let mut request = vec![1, length(user)?];
                request.extend_from_slice(user.as_bytes());
                request.push(length(password)?);
                request.extend_from_slice(password.as_bytes());
                stream.write_all(&request).await?;
                let [_, status] = read::<2, _>(stream).await?;
                if status != 0 {
                    return Err(Refusal::Denied(format!("it refuses the login of {user}")));
                }
            }
            (0xff, Some(_)) => {
                return Err(Refusal::Denied("it takes neither a password nor nobody in particular".into()));
            }
            (0xff, None) => return Err(Refusal::Denied("it wants a user and a password".into())),
            (other, _) => return Err(Refusal::Protocol(format!("it chose the method {other}, which was not offered"))),
        }
        let mut request = vec![5, 1, 0];
        match host.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => {
                request.push(1);
                request.extend_from_slice(&address.octets());
            }
            Ok(IpAddr::V6(address)) => {
                request.push(4);
                request.extend_from_slice(&address.octets());
            }
            Err(_) => {
                request.extend([3, length(host)?]);
                request.extend_from_slice(host.as_bytes());
            }
        }
        request.extend_from_slice(&port.to_be_bytes());
        stream.write_all(&request).await?;
        let [version, reply, _, kind] = read::<4, _>(stream).await?;
        if version != 5 {
            return Err(Refusal::Protocol("its answer is not SOCKS5".into()));
        }
        // The address it connected from is of no use, but must be taken.
        let rest = match kind {
            1 => 4,
            4 => 16,
            3 => usize::from(read::<1, _>(stream).await?[0]),
            other => return Err(Refusal::Protocol(format!("its answer has an address of the unknown kind {other}"))),
        };
        let mut ignored = vec![0; rest + 2];
        stream.read_exact(&mut ignored).await?;
        match reply {
            0 => Ok(()),
            1 => Err(Refusal::Unreachable("general failure".into())),
            2 => Err(Refusal::Denied("its rules do not allow it".into())),
            3 => Err(Refusal::Unreachable("network unreachable".into())),
            4 => Err(Refusal::Unreachable("host unreachable".into())),
            5 => Err(Refusal::Unreachable("connection refused".into())),
            6 => Err(Refusal::Unreachable("the connection timed out on the way".into())),
            7 => Err(Refusal::Denied("it does not do CONNECT".into())),
            8 => Err(Refusal::Denied("it does not know this kind of address".into())),
            other => Err(Refusal::Protocol(format!("it answered with the unknown code {other}"))),
        }
    }

    async fn http<S>(&self, stream: &mut S, host: &str, port: u16) -> std::result::Result<(), Refusal>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let authority = super::target::address(host, port);
        let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
        if let Some((user, password)) = &self.login {
            let login = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
            request.push_str(&format!("Proxy-Authorization: Basic {login}\r\n"));
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await?;
        // Byte by byte: what follows the answer is SSH's already.
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") && !answer.ends_with(b"\n\n") {
            if answer.len() >= LONGEST_ANSWER {
                return Err(Refusal::Protocol("its answer has no end".into()));
            }
            answer.push(read::<1, _>(stream).await?[0]);
        }
        let answer = String::from_utf8_lossy(&answer);
        let line = answer.lines().next().unwrap_or_default().trim();
        let code = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)?.parse::<u16>().ok());
        let said = || format!("it said {line:?}");
        match code {
            Some(200..=299) => Ok(()),
            Some(407) if self.login.is_some() => Err(Refusal::Denied(format!("it refuses the login: {}", said()))),
            Some(407) => Err(Refusal::Denied("it wants a user and a password".into())),
            Some(400..=499) => Err(Refusal::Denied(said())),
            Some(_) => Err(Refusal::Unreachable(said())),
            None => Err(Refusal::Protocol(format!("it does not speak HTTP: {}", said()))),
        }
    }
}

async fn read<const N: usize, S: AsyncRead + Unpin>(stream: &mut S) -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

fn length(text: &str) -> std::result::Result<u8, Refusal> {
    u8::try_from(text.len()).map_err(|_| Refusal::Denied(format!("{} bytes are too long for SOCKS5", text.len())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn proxy(kind: ProxyType) -> Proxy {
        Proxy { host: "p".into(), port: 1, kind, login: Some(("user".into(), "secret".into())) }
    }

    async fn answered(kind: ProxyType, answer: &[u8]) -> std::result::Result<(), Refusal> {
        let (mut near, mut far) = tokio::io::duplex(64 << 10);
        far.write_all(answer).await.unwrap();
        far.shutdown().await.unwrap();
        proxy(kind).pass(&mut near, "host", 22).await
    }

    #[tokio::test]
    async fn each_answer_says_what_it_means() {
        assert_eq!(answered(ProxyType::Socks5, &[5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await, Ok(()));
        assert_eq!(answered(ProxyType::Socks5, &[5, 2, 1, 0, 5, 0, 0, 3, 2, 9, 9, 0, 0]).await, Ok(()));
        let denied = answered(ProxyType::Socks5, &[5, 2, 1, 1]).await.unwrap_err();
        assert_eq!(denied, Refusal::Denied("it refuses the login of user".into()));
        let refused = answered(ProxyType::Socks5, &[5, 0, 5, 5, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap_err();
        assert_eq!(refused, Refusal::Unreachable("connection refused".into()));
        assert!(matches!(answered(ProxyType::Socks5, b"HTTP/1.0 400").await, Err(Refusal::Protocol(_))));
        assert_eq!(answered(ProxyType::Http, b"HTTP/1.1 200 OK\r\nVia: x\r\n\r\n").await, Ok(()));
        assert!(matches!(answered(ProxyType::Http, b"HTTP/1.1 407 Who\r\n\r\n").await, Err(Refusal::Denied(_))));
        assert!(matches!(answered(ProxyType::Http, b"HTTP/1.1 502 No\r\n\r\n").await, Err(Refusal::Unreachable(_))));
        assert!(matches!(answered(ProxyType::Http, b"SSH-2.0-x\r\n\r\n").await, Err(Refusal::Protocol(_))));
        assert!(matches!(answered(ProxyType::Http, b"HTTP/1.1 200").await, Err(Refusal::Protocol(_))));
    }

    proptest! {
        #[test]
        fn nothing_a_proxy_says_panics(answer in proptest::collection::vec(any::<u8>(), 0..64), http in any::<bool>()) {
            let kind = if http { ProxyType::Http } else { ProxyType::Socks5 };
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let _ = runtime.block_on(answered(kind, &answer));
        }
    }
}
