//! The HTTP client that everything uses.

use std::time::{Duration, SystemTime};

use reqwest::Url;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use crate::engine::Seconds;
use crate::error::{Error, Kind, Result};
use crate::ui::secrets::Secrets;

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
pub fn shown(url: &Url) -> String {
    let mut url = url.clone();
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}

/// Returns a text that should be a URL as it may be shown.
pub fn shown_text(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    // Whatever it is, what stands before the last @ is nobody's business.
    let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
    format!("{scheme}://{place}")
}

/// Returns a URL with a word in the place of each secret: what tells it from others, in files that are kept.
pub fn hidden(url: &Url) -> Url {
    let mut id = url.clone();
    if url.password().is_some() {
        let _ = id.set_password(Some("hidden"));
    } else if !url.username().is_empty() {
        let _ = id.set_username("hidden");
    }
    if url.query_pairs().any(|(name, _)| is_secret(&name)) {
        id.query_pairs_mut().clear().extend_pairs(url.query_pairs().map(|(name, value)| {
            let hidden = is_secret(&name);
            (name, if hidden { "hidden".into() } else { value })
        }));
    }
    id
}

/// Registers what a URL holds that must not be seen: a password or a token before the host, a signature in the query.
pub fn hide_url(url: &Url, secrets: &Secrets) {
    let user = match url.password() {
        Some(password) => password,
        // A token stands in the user's place where there is no password.
        None => url.username(),
    };
    secrets.add(user);
    secrets.add(&percent_encoding::percent_decode_str(user).decode_utf8_lossy());
    for (_, value) in url.query_pairs().filter(|(name, _)| is_secret(name)) {
        secrets.add(&value);
    }
}

/// Registers what headers hold that must not be seen: the value, and the credentials after the scheme (RFC 9110, section
/// 11.4).
pub fn hide_header(name: &str, value: &str, secrets: &Secrets) {
    if is_secret(name) {
        secrets.add(value);
        if let Some((_, credentials)) = value.trim().split_once(' ') {
            secrets.add(credentials);
        }
    }
}

/// Registers the passwords of the proxies that the environment names.
pub fn hide_proxies(secrets: &Secrets) {
    for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        if let Some(url) = std::env::var(name).ok().and_then(|text| Url::parse(&text).ok()) {
            secrets.add(url.password().unwrap_or_default());
            secrets.add(&percent_encoding::percent_decode_str(url.password().unwrap_or_default()).decode_utf8_lossy());
        }
    }
}

/// Tells whether a header or parameter of that name holds a secret.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('_', "-");
    let parts =
        ["token", "secret", "password", "passwd", "signature", "api-key", "apikey", "authorization", "auth-key"];
    matches!(name.as_str(), "auth" | "x-auth" | "cookie" | "sig" | "pwd")
        || parts.iter().any(|part| name.contains(part))
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
pub fn error(url: &Url, source: reqwest::Error) -> Error {
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
pub fn status_error(url: &Url, status: reqwest::StatusCode) -> Error {
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
    fn what_a_url_or_header_holds_is_hidden() {
        let (secrets, url) = (Secrets::default(), |text: &str| Url::parse(text).unwrap());
        let signed = url("https://me:p%40ss-w@h/a?X-Amz-Signature=5f5f5f&x=visible");
        hide_url(&signed, &secrets);
        hide_url(&url("https://t0ken-t0ken@h/"), &secrets);
        hide_header("Authorization", "Bearer abc.def.ghi", &secrets);
        hide_header("X-Vault-Token", "hvs.1234", &secrets);
        hide_header("Accept", "text/plain", &secrets);
        let masked = secrets.mask("p@ss-w p%40ss-w 5f5f5f t0ken-t0ken abc.def.ghi hvs.1234 visible text/plain me");
        assert_eq!(masked.replace("********", "*"), "* * * * * * visible text/plain me");
        assert_eq!(hidden(&signed).as_str(), "https://me:hidden@h/a?X-Amz-Signature=hidden&x=visible");
        assert_eq!(hidden(&url("https://t0ken@h/")).as_str(), "https://hidden@h/");
        assert_eq!(hidden(&url("https://h/?a=b%20c&d")).as_str(), "https://h/?a=b%20c&d");
        assert_eq!(shown_text("http://me:p@ss@h:port/"), "http://h:port/");
        assert_eq!(shown_text("h"), "h");
    }

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
