//! The SDK's requests, sent by the HTTP client of everything else: its proxies, its certificates, its TLS.

use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;

use crate::error::{Error, Kind, Result};

/// How long a connection may take to come about, and an answer to begin and go on.
const CONNECT: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_secs(60);

/// Sends what the SDK asks for.
#[derive(Debug, Clone)]
pub struct Http {
    client: reqwest::Client,
    skips_verification: bool,
}

impl Http {
    /// Makes one; `skips_verification` takes any certificate for the other side's.
    pub fn new(skips_verification: bool) -> Result<Http> {
        let client = client(CONNECT, skips_verification)
            .map_err(|e| Error::new(Kind::Network, "cannot set up the HTTP client for AWS").caused_by(e))?;
        Ok(Http { client, skips_verification })
    }
}

fn client(connect: Duration, skips_verification: bool) -> reqwest::Result<reqwest::Client> {
    // A second installation is refused, and is the same provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .connect_timeout(connect)
        .read_timeout(SILENCE)
        .tls_danger_accept_invalid_certs(skips_verification)
        // A redirect would be followed with a signature that is for another host.
        .redirect(reqwest::redirect::Policy::none())
        .build()
}

impl HttpClient for Http {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        // The instance metadata service is waited for a second only: most hosts have none.
        let special = settings.connect_timeout().filter(|limit| *limit < CONNECT);
        let own = special.and_then(|connect| client(connect, self.skips_verification).ok());
        let client = own.unwrap_or_else(|| self.client.clone());
        SharedHttpConnector::new(Connector { client, limit: settings.read_timeout() })
    }
}

#[derive(Debug)]
struct Connector {
    client: reqwest::Client,
    limit: Option<Duration>,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (client, limit) = (self.client.clone(), self.limit);
        HttpConnectorFuture::new(async move {
            let request = outgoing(&client, request, limit)?;
            let answer = client.execute(request).await.map_err(failed)?;
            let status =
                StatusCode::try_from(answer.status().as_u16()).map_err(|e| ConnectorError::other(e.into(), None))?;
            let headers = answer.headers().clone();
            let body = answer.bytes().await.map_err(failed)?;
            let mut response = HttpResponse::new(status, SdkBody::from(body));
            for (name, value) in &headers {
                if let Ok(value) = value.to_str() {
                    let _ = response.headers_mut().try_append(name.as_str().to_owned(), value.to_owned());
                }
            }
            Ok(response)
        })
    }
}

fn outgoing(
    client: &reqwest::Client,
    request: HttpRequest,
    limit: Option<Duration>,
) -> std::result::Result<reqwest::Request, ConnectorError> {
    let unsendable = || ConnectorError::user("a request that cannot be sent".into());
    let method = reqwest::Method::from_bytes(request.method().as_bytes()).map_err(|_| unsendable())?;
    let mut outgoing = client.request(method, request.uri());
    for (name, value) in request.headers() {
        outgoing = outgoing.header(name, value);
    }
    if let Some(limit) = limit {
        outgoing = outgoing.timeout(limit);
    }
    // What is sent to these services is never a stream.
    let body = request.body().bytes().ok_or_else(unsendable)?.to_vec();
    outgoing.body(body).build().map_err(|e| ConnectorError::user(e.into()))
}

/// A request that was broken off is worth another attempt: the SDK tells by the kind.
fn failed(error: reqwest::Error) -> ConnectorError {
    match error.is_timeout() {
        true => ConnectorError::timeout(error.into()),
        false if error.is_builder() => ConnectorError::user(error.into()),
        false => ConnectorError::io(error.into()),
    }
}
