//! Something on a server: how it is called and how it is asked for.

use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use reqwest::{Client, RequestBuilder, Response, StatusCode, Url, header};

use crate::error::{Error, Result};
use crate::media::http;
use crate::media::s3::{self, Object};
use crate::ui::Ui;

/// What S3 says where a bucket is.
const BUCKET_REGION: &str = "x-amz-bucket-region";
/// As much of a refusal as can hold its reason.
const REASON_LIMIT: usize = 16 << 10;

#[derive(Debug)]
enum Address {
    Web(Url),
    S3(Object),
}

/// A file on a server.
#[derive(Debug)]
pub struct Remote {
    address: Address,
    /// Where a server of S3 says the bucket is.
    region: Mutex<Option<String>>,
}

/// Why an answer is of no use.
pub struct Refusal {
    pub error: Error,
    /// Whether another try may end better.
    pub passing: bool,
    /// How long the server asks to be left alone before that.
    pub after: Option<Duration>,
}

impl Remote {
    pub fn web(url: Url) -> Remote {
        Remote { address: Address::Web(url), region: Mutex::default() }
    }

    pub fn s3(object: Object) -> Remote {
        Remote { address: Address::S3(object), region: Mutex::default() }
    }

    /// Returns what tells it from everything else; no secrets.
    pub fn id(&self) -> String {
        match &self.address {
            Address::Web(url) => http::hidden(url).into(),
            Address::S3(object) => object.to_string(),
        }
    }

    /// Returns it as it may be shown.
    pub fn shown(&self) -> String {
        match &self.address {
            Address::Web(url) => http::shown(&http::hidden(url)),
            Address::S3(object) => object.to_string(),
        }
    }

    /// Returns its path on the server.
    pub fn path(&self) -> String {
        match &self.address {
            Address::Web(url) => percent_decoded(url.path()),
            Address::S3(object) => format!("/{}", object.key),
        }
    }

    /// Returns the last part of its path.
    pub fn file_name(&self) -> String {
        let path = self.path();
        let last = path.rsplit('/').next().unwrap_or_default();
        match &self.address {
            Address::Web(url) if last.is_empty() => url.host_str().unwrap_or("download").to_owned(),
            _ => last.to_owned(),
        }
    }

    /// Returns what has that name in the same folder.
    pub fn beside(&self, name: &str) -> Option<Remote> {
        match &self.address {
            Address::Web(url) => url.join(name).ok().map(Remote::web),
            Address::S3(object) => Some(Remote::s3(object.beside(name))),
        }
    }

    /// Begins to ask for it, as it is: what is compressed on the way could not be taken up in its middle.
    pub fn get(&self, client: &Client, ui: &Ui) -> Result<RequestBuilder> {
        let url = match &self.address {
            Address::Web(url) => url.clone(),
            Address::S3(object) => object.signed(self.region().as_deref(), ui)?,
        };
        Ok(client.get(url).header(header::ACCEPT_ENCODING, "identity"))
    }

    /// Describes a request that got no answer, and whether another may.
    pub fn failure(&self, error: reqwest::Error) -> Refusal {
        let passing = !error.is_redirect() && !error.is_builder();
        Refusal { error: http::failure(&self.shown(), error), passing, after: None }
    }

    /// Describes an answer that is not what was asked for.
    pub async fn refusal(&self, response: Response) -> Refusal {
        let status = response.status();
        let mut error = http::refusal(&self.shown(), status);
        let mut passing =
            status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
        let after = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
            .then(|| http::retry_after(response.headers(), SystemTime::now()))
            .flatten();
        if let Address::S3(_) = &self.address {
            let region = response.headers().get(BUCKET_REGION).and_then(|v| v.to_str().ok()).map(str::to_owned);
            if region.is_some() && region != self.region() && !status.is_success() {
                // Asked in the wrong region: the answer names the right one.
                passing |= self.set_region(region);
            }
            if let Some(reason) = s3::reason(&beginning(response).await) {
                error = error.within(reason);
            }
            if matches!(status, StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED) {
                error = error.hint(
                    "credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or from the profile AWS_PROFILE",
                );
            }
        }
        Refusal { error, passing, after }
    }

    fn region(&self) -> Option<String> {
        self.region.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    fn set_region(&self, region: Option<String>) -> bool {
        *self.region.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = region;
        true
    }
}

/// Reads the beginning of an answer's text.
async fn beginning(mut response: Response) -> String {
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > REASON_LIMIT {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let hex = tail.get(..2).filter(|_| *first == b'%').and_then(|hex| hex::decode(hex).ok());
        match hex {
            Some(decoded) => {
                bytes.extend(decoded);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
