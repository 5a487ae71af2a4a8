//! The HTTP client that everything uses.

use std::time::Duration;

use crate::engine::Seconds;
use crate::error::{Error, Kind, Result};

/// How long a server may be silent, unless the environment says otherwise.
const SILENCE: Duration = Duration::from_secs(60);
/// How long a connection may take to come about, at most.
const CONNECT: Duration = Duration::from_secs(30);

/// Returns how long a server may be silent: `RIMG_NETWORK_TIMEOUT`, else a minute.
fn silence() -> Result<Duration> {
    let Some(text) = std::env::var_os("RIMG_NETWORK_TIMEOUT").filter(|text| !text.is_empty()) else {
        return Ok(SILENCE);
    };
    let text = text.to_string_lossy();
    Seconds::parse(&text).map(|seconds| seconds.0).filter(|limit| !limit.is_zero()).ok_or_else(|| {
        Error::new(Kind::Usage, format!("RIMG_NETWORK_TIMEOUT: {text:?} is not a duration"))
            .hint("give seconds, or a duration such as \"90s\" or \"2m\"")
    })
}

/// Returns a client with the system's certificates, the environment's proxies (`https_proxy`, `all_proxy`, `no_proxy`,
/// …) and limits that notice a server that has gone silent. It belongs to the runtime it is first used on.
pub fn client() -> Result<reqwest::Client> {
    let silence = silence()?;
    // A second installation is refused, and is the same provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .user_agent(concat!("rimg/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(silence.min(CONNECT))
        .read_timeout(silence)
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
    failure(&shown(url), source)
}

/// Describes a failed request for what is shown as `what`.
pub fn failure(shown: &str, source: reqwest::Error) -> Error {
    let (what, hint) = if source.is_connect() {
        ("cannot reach", "check the address, the network, and the proxy variables (https_proxy, no_proxy)")
    } else if source.is_redirect() {
        ("redirected without end from", "the server is misconfigured: use another URL or a mirror")
    } else if source.is_timeout() {
        ("no answer in time from", "the server is slow or has gone silent; try again later or use a mirror")
    } else {
        ("cannot read", "the connection broke; try again, or use a mirror")
    };
    // Its own message repeats the URL, with whatever password is in it.
    Error::new(Kind::Network, format!("{what} {shown}")).hint(hint).caused_by(source.without_url())
}

/// Describes an answer that is not a success.
pub fn status_error(url: &reqwest::Url, status: reqwest::StatusCode) -> Error {
    refusal(&shown(url), status)
}

/// Describes an answer to a request for what is shown as `what` that is not a success.
pub fn refusal(what: &str, status: reqwest::StatusCode) -> Error {
    let error = Error::new(Kind::Network, format!("{what} answers {status}")).field("status", status.as_u16());
    match status.as_u16() {
        404 | 410 => error.hint("the file is not there (any more): check the URL, or look for its new name"),
        401 | 403 => error.hint("the server wants credentials, or refuses these"),
        _ => error,
    }
}
