//! The HTTP client that everything uses.

use std::time::Duration;

use crate::error::{Error, Kind, Result};

/// Returns a client with the system's certificates, the environment's proxies (`https_proxy`, `no_proxy`, …) and
/// limits that notice a server that has gone silent. It belongs to the runtime it is first used on.
pub fn client() -> Result<reqwest::Client> {
    // A second installation is refused, and is the same provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .user_agent(concat!("rimg/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(30))
        .read_timeout(Duration::from_secs(60))
        .build()
        .map_err(|e| Error::new(Kind::Network, "cannot set up the HTTP client").caused_by(e))
}

/// Returns a URL as it may be shown: without user and password.
pub fn shown(url: &reqwest::Url) -> String {
    let mut url = url.clone();
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}

/// Describes a failed request, with the hint its kind deserves.
pub fn error(url: &reqwest::Url, source: reqwest::Error) -> Error {
    let (what, hint) = if source.is_connect() {
        ("cannot reach", "check the address, the network, and the proxy variables (https_proxy, no_proxy)")
    } else if source.is_timeout() {
        ("no answer in time from", "the server is slow or has gone silent; try again later or use a mirror")
    } else {
        ("cannot read", "the connection broke; try again, or use a mirror")
    };
    // Its own message repeats the URL, with whatever password is in it.
    Error::new(Kind::Network, format!("{what} {}", shown(url))).hint(hint).caused_by(source.without_url())
}

/// Describes an answer that is not a success.
pub fn status_error(url: &reqwest::Url, status: reqwest::StatusCode) -> Error {
    let error = Error::new(Kind::Network, format!("{} answers {status}", shown(url))).field("status", status.as_u16());
    match status.as_u16() {
        404 | 410 => error.hint("the file is not there (any more): check the URL, or look for its new name"),
        401 | 403 => error.hint("the server wants credentials, or refuses these"),
        _ => error,
    }
}
