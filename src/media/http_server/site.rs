//! What is served: contents first, then the folder.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};

use super::answer::{self, Answer};
use super::body::{self, Entry, Logged};
use super::range::Wanted;
use super::{HttpServerOptions, content_type, files, request};
use crate::engine::options::Callback;
use crate::engine::placeholders::Placeholders;
use crate::engine::{BuildCx, Value};
use crate::error::{Error, Result};
use crate::media::inline::{self, InlineContent};
use crate::ui::{Level, Ui};

/// The most that a client may send to a function.
const MAX_BODY: usize = 1 << 20;
/// How long that may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// What is under one path.
enum Content {
    Fixed(Bytes),
    Function(Callback),
}

/// Everything that one server serves.
pub(super) struct Site {
    contents: HashMap<String, Content>,
    root: Option<PathBuf>,
    /// The placeholders' values, which functions are given.
    values: Value,
    ui: Ui,
}

impl Site {
    /// Makes a site of the options, with the placeholders in contents filled in.
    pub(super) fn new(options: &HttpServerOptions, values: &Placeholders, cx: &BuildCx) -> Result<Site> {
        let mut contents = HashMap::new();
        for (path, content) in options.http_content.by_path("http_content")? {
            let place = format!("option `http_content[\"/{path}\"]`");
            let content = match content {
                InlineContent::Text(text) => Content::Fixed(inline::filled(text, &place, values)?.into()),
                InlineContent::Bytes(bytes) => Content::Fixed(bytes.clone().into()),
                InlineContent::Function(function) => Content::Function(function.clone()),
            };
            contents.insert(path, content);
        }
        let root = options.http_directory.as_ref().map(|path| cx.settings.resolve(path));
        Ok(Site { contents, root, values: values.to_value(), ui: cx.ui.clone() })
    }

    /// Answers a request, and logs it.
    pub(super) async fn handle(
        &self,
        request: Request<Incoming>,
        address: SocketAddr,
    ) -> Result<Response<Logged>, Infallible> {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let mut entry = Entry {
            ui: self.ui.clone(),
            address,
            method: request.method().to_string(),
            path,
            // What the log says of a client that is gone before there was an answer, as other servers do.
            status: 499,
            sent: 0,
            started: Instant::now(),
        };
        let (parts, sent) = request.into_parts();
        let is_head = parts.method == Method::HEAD;
        let mut answer = self.answer(&parts, sent, address).await;
        if is_head {
            let size = hyper::body::Body::size_hint(answer.body()).exact();
            if let Some(size) = size.filter(|_| !answer.headers().contains_key(CONTENT_LENGTH)) {
                answer.headers_mut().insert(CONTENT_LENGTH, size.into());
            }
            *answer.body_mut() = body::empty();
        }
        entry.status = answer.status().as_u16();
        Ok(answer.map(|content| Logged { content, entry }))
    }

    async fn answer(&self, parts: &Parts, sent: Incoming, address: SocketAddr) -> Answer {
        let Some(names) = request::names(parts.uri.path()) else {
            return answer::status(StatusCode::BAD_REQUEST);
        };
        let path = names.join("/");
        match self.contents.get(&path) {
            Some(Content::Function(function)) => {
                let body = tokio::time::timeout(BODY_TIMEOUT, Limited::new(sent, MAX_BODY).collect()).await;
                let body = match body {
                    Err(_) => return answer::status(StatusCode::REQUEST_TIMEOUT),
                    Ok(Err(_)) => return answer::status(StatusCode::PAYLOAD_TOO_LARGE),
                    Ok(Ok(body)) => body.to_bytes(),
                };
                let request = request::to_value(parts, &names, &body, address, &self.values);
                let answered = function.call(request).await.and_then(|answer| answer::of_function(answer, &path));
                answered.unwrap_or_else(|error| self.failed(&path, &error))
            }
            _ if !answer::is_read(&parts.method) => answer::method_not_allowed(),
            Some(Content::Fixed(bytes)) => fixed(bytes, &path, parts),
            None => match &self.root {
                None => answer::status(StatusCode::NOT_FOUND),
                Some(root) => match files::serve(root, &names, parts).await {
                    Ok(answer) => answer,
                    Err(error) => {
                        tracing::debug!(%path, %error, "cannot serve");
                        files::failure(&error)
                    }
                },
            },
        }
    }

    /// Shows the error to the person who runs this, and tells the client that there was one. The build goes on: what an
    /// installer does without the answer shows soon enough.
    fn failed(&self, path: &str, error: &Error) -> Answer {
        let mut message = format!("http_content[\"/{path}\"]: {error}");
        for hint in error.hints() {
            message.push_str("\n    ");
            message.push_str(hint);
        }
        self.ui.message(Level::Error, message);
        answer::text(StatusCode::INTERNAL_SERVER_ERROR, "the function for this path failed\n".into())
    }
}

fn fixed(bytes: &Bytes, path: &str, parts: &Parts) -> Answer {
    let size = bytes.len() as u64;
    let content_range = |answer: &mut Answer, text: String| {
        if let Ok(value) = HeaderValue::from_str(&text) {
            answer.headers_mut().insert(CONTENT_RANGE, value);
        }
    };
    let mut answer = match answer::wanted(&parts.method, &parts.headers, size) {
        Wanted::All => answer::typed(StatusCode::OK, content_type::of(path), bytes.clone()),
        Wanted::Part { first, last } => {
            let part = bytes.slice(first as usize..=last as usize);
            let mut answer = answer::typed(StatusCode::PARTIAL_CONTENT, content_type::of(path), part);
            content_range(&mut answer, format!("bytes {first}-{last}/{size}"));
            answer
        }
        Wanted::Unsatisfiable => {
            let mut answer = answer::status(StatusCode::RANGE_NOT_SATISFIABLE);
            content_range(&mut answer, format!("bytes */{size}"));
            answer
        }
    };
    answer.headers_mut().insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    answer
}
