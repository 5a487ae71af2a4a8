//! The HTTP client that everything uses.

use std::time::{Duration, SystemTime};

use reqwest::header::{HeaderMap, RETRY_AFTER};

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

/// Returns how long a server asks to be left alone (`Retry-After`, RFC 9110, section 10.2.3): seconds, or a date.
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if text.bytes().all(|digit| digit.is_ascii_digit()) && !text.is_empty() {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_asks_to_be_left_alone_in_seconds_or_until_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let asked = |text: &str| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]), now);
        assert_eq!(asked("30"), Some(Duration::from_secs(30)));
        assert_eq!(asked("Sun, 06 Nov 1994 08:50:37 GMT"), Some(Duration::from_secs(60)));
        assert_eq!(asked("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(asked("99999999999999999999999"), Some(Duration::from_secs(u64::MAX)));
        for wrong in ["", "soon", "-1", "1.5"] {
            assert_eq!(asked(wrong), None, "{wrong}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
