//! Answers: short ones, and those that functions give.

use bytes::Bytes;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Response, StatusCode};

use super::body::{self, Content};
use super::content_type;
use super::range::{self, Wanted};
use crate::engine::Value;
use crate::engine::options::{Any, decode};
use crate::error::{Error, Kind, Result};
use crate::media::inline::bytes_of;

pub(super) type Answer = Response<Content>;

/// What a function may answer in place of a string.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Table {
    status: Option<u16>,
    headers: std::collections::BTreeMap<String, String>,
    body: Option<Any>,
}

/// Returns an answer that says its status in words.
pub(super) fn status(status: StatusCode) -> Answer {
    text(status, format!("{status}\n"))
}

/// Returns an answer of plain text.
pub(super) fn text(status: StatusCode, text: String) -> Answer {
    typed(status, "text/plain; charset=utf-8", text)
}

/// Returns an answer of a media type.
pub(super) fn typed(status: StatusCode, media_type: &'static str, bytes: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(body::full(bytes));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    answer
}

/// Returns the refusal of a method other than GET and HEAD.
pub(super) fn method_not_allowed() -> Answer {
    let mut answer = status(StatusCode::METHOD_NOT_ALLOWED);
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    answer
}

/// Tells whether a file may be asked for by this method.
pub(super) fn is_read(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

/// Returns the `Range` header where it counts: in a GET (RFC 9110, section 14.2).
pub(super) fn wanted(method: &Method, headers: &HeaderMap, size: u64) -> Wanted {
    let header = headers.get(hyper::header::RANGE).filter(|_| method == Method::GET);
    header.and_then(|header| header.to_str().ok()).map_or(Wanted::All, |header| range::parse(header, size))
}

/// Turns the answer of a function to a request for `path` into what is sent.
pub(super) fn of_function(answer: Value, path: &str) -> Result<Answer> {
    let table = match answer {
        Value::Nil => return Ok(status(StatusCode::NOT_FOUND)),
        Value::Map(_) => decode::<Table>("the function's answer", answer)?,
        Value::Str(_) | Value::Bytes(_) => Table { body: Some(Any(answer)), ..Table::default() },
        other => return Err(wrong(format!("expected a string, a table or nil, found {}", other.describe()))),
    };
    let bytes = match table.body {
        None | Some(Any(Value::Nil)) => Vec::new(),
        Some(Any(body)) => {
            bytes_of(body).map_err(|found| wrong(format!("`body`: expected a string, found {found}")))?
        }
    };
    let mut answer = typed(StatusCode::OK, content_type::of(path), bytes);
    if let Some(code) = table.status {
        // 1xx would be followed by another answer.
        *answer.status_mut() = StatusCode::from_u16(code)
            .ok()
            .filter(|code| !code.is_informational())
            .ok_or_else(|| wrong(format!("`status`: {code} is not the status of an answer")))?;
    }
    for (name, value) in table.headers {
        let name =
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong(format!("{name:?} cannot be a header")))?;
        // How long the body is and where it ends is not the script's to say.
        if matches!(name.as_str(), "content-length" | "transfer-encoding" | "connection") {
            continue;
        }
        let value = HeaderValue::from_str(&value)
            .map_err(|_| wrong(format!("{value:?} cannot be the value of header {name}")))?;
        answer.headers_mut().insert(name, value);
    }
    Ok(answer)
}

fn wrong(message: String) -> Error {
    Error::new(Kind::Option, format!("the function's answer: {message}"))
}
