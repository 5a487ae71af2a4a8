//! The files of `http_directory`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use futures_util::TryStreamExt;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, HeaderValue, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, LOCATION,
};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Response, StatusCode};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::answer::{self, Answer};
use super::range::Wanted;
use super::{body, content_type, listing};

/// How much of a file is read at once; nothing more of it is in memory.
const CHUNK: usize = 256 << 10;

/// Answers with a file or folder below `root`. Links are followed, wherever they lead: the script's author made them, and
/// no client can.
pub(super) async fn serve(root: &Path, names: &[String], parts: &Parts) -> std::io::Result<Answer> {
    let (last, folders) = names.split_last().map_or(("", &[][..]), |(last, folders)| (last.as_str(), folders));
    let path: PathBuf = root.join(folders.join("/"));
    let asks_folder = last.is_empty();
    let path = if asks_folder { path } else { path.join(last) };
    let meta = tokio::fs::metadata(&path).await?;
    if meta.is_dir() {
        if !asks_folder {
            return Ok(redirect(names, parts.uri.query()));
        }
        let index = path.join("index.html");
        return match tokio::fs::metadata(&index).await {
            Ok(meta) if meta.is_file() => file(&index, "index.html", &meta, parts).await,
            _ => listing::of(path, folders.is_empty()).await,
        };
    }
    // Reading from a pipe or a device would wait for ever.
    if asks_folder || !meta.is_file() {
        return Err(ErrorKind::NotFound.into());
    }
    file(&path, last, &meta, parts).await
}

/// Returns the answer to an error of the file system.
pub(super) fn failure(error: &std::io::Error) -> Answer {
    answer::status(match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidFilename => StatusCode::NOT_FOUND,
        ErrorKind::PermissionDenied => StatusCode::FORBIDDEN,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    })
}

async fn file(path: &Path, name: &str, meta: &std::fs::Metadata, parts: &Parts) -> std::io::Result<Answer> {
    let modified = meta.modified().ok().map(whole_seconds);
    let mut answer = Response::new(body::empty());
    let headers = answer.headers_mut();
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type::of(name)));
    if let Some(modified) = modified
        && let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(modified))
    {
        headers.insert(LAST_MODIFIED, date);
    }
    if is_unchanged(&parts.headers, modified) {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(answer);
    }
    let size = meta.len();
    // A part of another version than the client has would be of no use to it (RFC 9110, section 13.1.5).
    let same = parts.headers.get(IF_RANGE).is_none() || date_in(&parts.headers, &IF_RANGE) == modified;
    let wanted = if same { answer::wanted(&parts.method, &parts.headers, size) } else { Wanted::All };
    let (first, length) = match wanted {
        Wanted::All => (0, size),
        Wanted::Part { first, last } => {
            *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
            set(&mut answer, CONTENT_RANGE, &format!("bytes {first}-{last}/{size}"));
            (first, last - first + 1)
        }
        Wanted::Unsatisfiable => {
            let mut answer = answer::status(StatusCode::RANGE_NOT_SATISFIABLE);
            set(&mut answer, CONTENT_RANGE, &format!("bytes */{size}"));
            return Ok(answer);
        }
    };
    set(&mut answer, CONTENT_LENGTH, &length.to_string());
    let mut file = tokio::fs::File::open(path).await?;
    if parts.method != Method::HEAD {
        file.set_max_buf_size(CHUNK);
        file.seek(std::io::SeekFrom::Start(first)).await?;
        let stream = ReaderStream::with_capacity(file.take(length), CHUNK).map_ok(Frame::data);
        *answer.body_mut() = StreamBody::new(stream).boxed_unsync();
    }
    Ok(answer)
}

fn set(answer: &mut Answer, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}

/// Sends the client to the folder, so that relative links in what it gets start there.
fn redirect(names: &[String], query: Option<&str>) -> Answer {
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let mut answer = answer::status(StatusCode::MOVED_PERMANENTLY);
    let names: Vec<String> = names.iter().map(|name| listing::encoded(name)).collect();
    set(&mut answer, LOCATION, &format!("/{}/{query}", names.join("/")));
    answer
}

/// Tells whether the client has the file already (RFC 9110, section 13.1.3).
fn is_unchanged(headers: &HeaderMap, modified: Option<SystemTime>) -> bool {
    // Entity tags have precedence, and this server gives none.
    let since = date_in(headers, &IF_MODIFIED_SINCE).filter(|_| !headers.contains_key(IF_NONE_MATCH));
    matches!((since, modified), (Some(since), Some(modified)) if modified <= since)
}

fn date_in(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

/// Returns a time as a header can say it.
fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}
