//! Downloads: streamed to the cache, hashed on the way, kept only if they are what they should be.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{StatusCode, Url, header};
use tokio::sync::mpsc;
use tokio_util::bytes::Bytes;

use super::cache::{self, Note, Slot};
use super::checksum::{self, Checksum};
use super::http;
use crate::engine::{BuildCx, ResourceId, Resources};
use crate::error::{Error, Kind, Result, io_error};
use crate::host::digest::{Algorithm, Hasher};
use crate::host::{atomic, blocking};
use crate::ui::Progress;
use crate::ui::event::Unit;

/// How often in a row a transfer may fail without getting any further.
const ATTEMPTS: u32 = 3;
/// The pause before the first repetition; it doubles.
const PAUSE: Duration = Duration::from_millis(400);
/// A checksum file is not larger than this.
const CHECKSUM_FILE_LIMIT: usize = 16 << 20;

/// Where something is.
enum Place {
    Web(Url),
    Local(PathBuf),
}

fn place(text: &str, cx: &BuildCx) -> Result<Place> {
    if let Some(rest) = text.strip_prefix("file:") {
        if rest.starts_with("//") {
            let url = Url::parse(text).ok().and_then(|url| url.to_file_path().ok());
            return url.map(Place::Local).ok_or_else(|| {
                Error::new(Kind::Option, format!("{text:?} does not name a file of this host"))
                    .hint("write file:///absolute/path, or the path alone")
            });
        }
        return Ok(Place::Local(cx.settings.resolve(rest)));
    }
    let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    match scheme.as_deref() {
        None => Ok(Place::Local(cx.settings.resolve(text))),
        Some("http" | "https") => {
            let url = Url::parse(text)
                .map_err(|e| Error::new(Kind::Option, format!("{text:?} is not a URL")).caused_by(e))?;
            if let Some(password) = url.password() {
                cx.ui.secrets().add(password);
            }
            Ok(Place::Web(url))
        }
        Some(other) => Err(Error::new(Kind::Unsupported, format!("cannot download over {other}: {text:?}"))
            .hint("http, https and file are known")),
    }
}

/// Returns the path of what `url` names, which has the checksum: a local file (a path, relative ones start at the
/// script's folder, or `file:`) where it is, a download in the cache.
pub async fn fetch(url: &str, checksum: &Checksum, cx: &BuildCx) -> Result<PathBuf> {
    match place(url, cx)? {
        Place::Local(path) => local(path, checksum, cx).await,
        Place::Web(url) => web(&url, checksum, cx).await,
    }
}

async fn local(path: PathBuf, checksum: &Checksum, cx: &BuildCx) -> Result<PathBuf> {
    if !cx.settings.is_live() {
        return Ok(path);
    }
    let meta = tokio::fs::metadata(&path).await.map_err(|e| io_error("read", &path, e))?;
    if !meta.is_file() {
        return Err(Error::new(Kind::Io, format!("{} is not a file", path.display())));
    }
    if let Some((algorithm, expected)) = expected(checksum, None, &path.to_string_lossy(), cx).await? {
        let found = cache::digest_of(&path, algorithm, &cx.settings.cache_dir, &cx.ui).await?;
        if found != expected {
            return Err(mismatch(&path.display().to_string(), algorithm, &expected, &found));
        }
    }
    Ok(path)
}

async fn web(url: &Url, checksum: &Checksum, cx: &BuildCx) -> Result<PathBuf> {
    let cache_dir = &cx.settings.cache_dir;
    let name = file_name(url);
    if !cx.settings.is_live() {
        return Ok(Slot::of_url(cache_dir, url.as_str(), &name).path);
    }
    let expected = expected(checksum, Some(url), url.path(), cx).await?;
    let slot = match &expected {
        Some((algorithm, hex)) => Slot::of_digest(cache_dir, *algorithm, hex, &name),
        None => Slot::of_url(cache_dir, url.as_str(), &name),
    };
    let lock = slot.lock(&cx.ui).await?;
    let note = slot.note();
    if let Some((algorithm, hex)) = &expected {
        if note.is_some() {
            return Ok(slot.path);
        }
        // A file without a valid note: touched by someone, or the note was lost.
        if slot.path.exists() {
            if cache::digest_of(&slot.path, *algorithm, cache_dir, &cx.ui).await? == *hex {
                return Ok(slot.path);
            }
            slot.clear();
        }
    }
    let resource = cx.resources.enter_path("download", slot.part());
    let part = Part { path: slot.part(), resource, resources: cx.resources.clone(), _lock: lock };
    transfer(url, &slot, part, expected.as_ref(), note.as_ref(), cx).await?;
    Ok(slot.path)
}

/// A download that is not whole yet, and the right to work on it; the file goes with the value, unless it has been
/// moved to its place. Held by the thread that writes, so that nobody else begins while that one still runs.
struct Part {
    path: PathBuf,
    resource: ResourceId,
    resources: Resources,
    _lock: File,
}

impl Drop for Part {
    fn drop(&mut self) {
        atomic::remove(&self.path);
        self.resources.forget(self.resource);
    }
}

/// Downloads to the slot; `known` is the note of what is there, for a server to say that it is still the same.
async fn transfer(
    url: &Url,
    slot: &Slot,
    part: Part,
    expected: Option<&(Algorithm, String)>,
    known: Option<&Note>,
    cx: &BuildCx,
) -> Result<()> {
    let algorithm = expected.map_or(Algorithm::Sha256, |(algorithm, _)| *algorithm);
    let (tx, rx) = mpsc::channel(64);
    let writing = blocking::run(move |_| write(&part.path, algorithm, rx).map(|found| (part, found)));
    let (received, written) = tokio::join!(receive(url, known, expected.is_some(), tx, cx), writing);
    // The writer's failure is why the receiver could go no further.
    let (_part, found) = written?;
    let Some(answer) = received? else {
        return Ok(());
    };
    if let Some((algorithm, expected)) = expected
        && found != *expected
    {
        return Err(mismatch(&http::shown(url), *algorithm, expected, &found));
    }
    slot.keep(&http::shown(url), vec![(algorithm.to_string(), found)], answer.etag, answer.last_modified)
}

enum Piece {
    Data(Bytes),
    /// What came so far is of no use.
    Restart,
}

/// Writes and hashes what is received; returns the digest once the sender is gone.
fn write(part: &Path, algorithm: Algorithm, mut pieces: mpsc::Receiver<Piece>) -> Result<String> {
    let failed = |e| io_error("write", part, e);
    let mut file = File::create(part).map_err(failed)?;
    let mut hasher = Hasher::new(algorithm);
    while let Some(piece) = pieces.blocking_recv() {
        match piece {
            Piece::Data(bytes) => {
                file.write_all(&bytes).map_err(failed)?;
                hasher.update(&bytes);
            }
            Piece::Restart => {
                file = File::create(part).map_err(failed)?;
                hasher = Hasher::new(algorithm);
            }
        }
    }
    Ok(hasher.finish())
}

/// What the server says about the file.
#[derive(Default)]
struct Answer {
    etag: Option<String>,
    last_modified: Option<String>,
}

/// Receives the whole file, over several connections if need be; nothing if the server says that what is known is
/// still the same.
async fn receive(
    url: &Url,
    known: Option<&Note>,
    checked: bool,
    pieces: mpsc::Sender<Piece>,
    cx: &BuildCx,
) -> Result<Option<Answer>> {
    let client = http::client()?;
    let mut state = Transfer { done: 0, checked, answer: Answer::default(), progress: None };
    let mut failures = 0;
    loop {
        let before = state.done;
        match attempt(&client, url, known, &mut state, &pieces, cx).await {
            Ok(Attempt::Complete) => return Ok(Some(state.answer)),
            Ok(Attempt::Unchanged) => return Ok(None),
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Passing(error)) => {
                failures = if state.done > before { 1 } else { failures + 1 };
                if failures >= ATTEMPTS {
                    return Err(error);
                }
                cx.ui.debug(format!("{error}; trying again"));
                tokio::time::sleep(PAUSE * 2u32.pow(failures - 1)).await;
            }
        }
    }
}

struct Transfer {
    /// Bytes handed to the writer.
    done: u64,
    /// Whether a checksum will tell if the pieces fit together.
    checked: bool,
    answer: Answer,
    progress: Option<Progress>,
}

enum Attempt {
    Complete,
    Unchanged,
}

enum Failure {
    /// It will be the same next time.
    Final(Error),
    /// Worth another try.
    Passing(Error),
}

async fn attempt(
    client: &reqwest::Client,
    url: &Url,
    known: Option<&Note>,
    state: &mut Transfer,
    pieces: &mpsc::Sender<Piece>,
    cx: &BuildCx,
) -> Result<Attempt, Failure> {
    let mut request = client.get(url.clone());
    let same = state.answer.etag.clone().filter(|etag| !etag.starts_with("W/")).or(state.answer.last_modified.clone());
    if state.done > 0 && (same.is_some() || state.checked) {
        request = request.header(header::RANGE, format!("bytes={}-", state.done));
        if let Some(same) = same {
            request = request.header(header::IF_RANGE, same);
        }
    } else if let Some(known) = known {
        if let Some(etag) = &known.etag {
            request = request.header(header::IF_NONE_MATCH, etag);
        } else if let Some(time) = &known.last_modified {
            request = request.header(header::IF_MODIFIED_SINCE, time);
        }
    }
    let passing = |e| Failure::Passing(http::error(url, e));
    let mut response = request.send().await.map_err(passing)?;
    let status = response.status();
    match status {
        StatusCode::NOT_MODIFIED if known.is_some() => return Ok(Attempt::Unchanged),
        StatusCode::PARTIAL_CONTENT if starts_at(&response) == Some(state.done) => {}
        StatusCode::OK => {
            if state.done > 0 {
                send(pieces, Piece::Restart).await?;
                state.done = 0;
            }
            let text = |name| response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
            state.answer = Answer { etag: text(header::ETAG), last_modified: text(header::LAST_MODIFIED) };
        }
        // A range that does not fit: the file has changed, or the server does not know how; from the start, then.
        StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::PARTIAL_CONTENT if state.done > 0 => {
            send(pieces, Piece::Restart).await?;
            state.done = 0;
            state.answer = Answer::default();
            return Err(Failure::Passing(http::status_error(url, status)));
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
            return Err(Failure::Passing(http::status_error(url, status)));
        }
        status if status.is_server_error() => return Err(Failure::Passing(http::status_error(url, status))),
        status => return Err(Failure::Final(http::status_error(url, status))),
    }
    let total = response.content_length().map(|rest| state.done + rest);
    let shown = file_name(url);
    let progress =
        state.progress.get_or_insert_with(|| cx.ui.progress(format!("Downloading {shown}"), total, Unit::Bytes));
    progress.set(state.done);
    while let Some(bytes) = response.chunk().await.map_err(passing)? {
        let n = bytes.len() as u64;
        send(pieces, Piece::Data(bytes)).await?;
        state.done += n;
        progress.add(n);
    }
    Ok(Attempt::Complete)
}

async fn send(pieces: &mpsc::Sender<Piece>, piece: Piece) -> Result<(), Failure> {
    let gone = |_| Failure::Final(Error::new(Kind::Io, "cannot write the download"));
    pieces.send(piece).await.map_err(gone)
}

/// Returns the offset that a partial answer starts at.
fn starts_at(response: &reqwest::Response) -> Option<u64> {
    let range = response.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}

/// Resolves a checksum to the digest that the content of `url` (or of a local file) must have.
async fn expected(
    checksum: &Checksum,
    url: Option<&Url>,
    name: &str,
    cx: &BuildCx,
) -> Result<Option<(Algorithm, String)>> {
    let file = match checksum {
        Checksum::None => return Ok(None),
        Checksum::Digest(algorithm, hex) => return Ok(Some((*algorithm, hex.clone()))),
        Checksum::File(file) => file,
    };
    let sums = match (place(file, cx)?, url) {
        // A bare name that is not here is beside what is downloaded.
        (Place::Local(path), Some(url)) if !file.starts_with(['.', '/']) && !path.exists() => {
            url.join(file).map_or(Place::Local(path), Place::Web)
        }
        (place, _) => place,
    };
    let (bytes, at, folder) = match sums {
        Place::Web(sums) => {
            let folder = sums.join(".").map(|folder| folder.path().to_owned()).unwrap_or_default();
            (small(&sums).await?, http::shown(&sums), folder)
        }
        Place::Local(path) => {
            let bytes = tokio::fs::read(&path).await.map_err(|e| io_error("read checksum file", &path, e))?;
            let folder = path.parent().map(|folder| format!("{}/", folder.display())).unwrap_or_default();
            (bytes, path.display().to_string(), folder)
        }
    };
    // The names in a checksum file start at its own folder.
    let relative = name.strip_prefix(folder.as_str()).unwrap_or(name);
    let relative = percent_decoded(relative);
    let own_name = at.rsplit('/').next().unwrap_or(&at).to_owned();
    match checksum::find(&String::from_utf8_lossy(&bytes), &own_name, &relative) {
        Some(found) => Ok(Some(found)),
        None => Err(Error::new(Kind::Checksum, format!("{at} has no digest of {relative}"))
            .hint("name the right checksum file, or give the digest itself as \"sha256:…\"")),
    }
}

/// Gets a small file into memory.
async fn small(url: &Url) -> Result<Vec<u8>> {
    let client = http::client()?;
    let mut failures = 0;
    loop {
        let got = async {
            let mut response = client.get(url.clone()).send().await.map_err(|e| http::error(url, e))?;
            if !response.status().is_success() {
                return Err(http::status_error(url, response.status()));
            }
            let mut bytes = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(|e| http::error(url, e))? {
                bytes.extend_from_slice(&chunk);
                if bytes.len() > CHECKSUM_FILE_LIMIT {
                    let message = format!("{} is too large for a checksum file", http::shown(url));
                    return Err(Error::new(Kind::Checksum, message).hint("is it the image itself?"));
                }
            }
            Ok(bytes)
        };
        match got.await {
            Ok(bytes) => return Ok(bytes),
            Err(error) => {
                failures += 1;
                let refused = error.get("status").and_then(|s| s.as_u64()).is_some_and(|s| s < 500);
                if failures >= ATTEMPTS || refused || error.kind() != Kind::Network {
                    return Err(error);
                }
                tokio::time::sleep(PAUSE * 2u32.pow(failures - 1)).await;
            }
        }
    }
}

fn mismatch(what: &str, algorithm: Algorithm, expected: &str, found: &str) -> Error {
    Error::new(Kind::Checksum, format!("{what} has the wrong {algorithm}: expected {expected}, found {found}"))
        .hint("the file has changed or was damaged on the way: compare with the publisher's checksum, and try again")
        .field("expected", expected)
        .field("found", found)
}

/// Returns the last part of a URL's path.
fn file_name(url: &Url) -> String {
    let last = url.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or_default();
    let name = percent_decoded(last);
    if name.is_empty() { url.host_str().unwrap_or("download").to_owned() } else { name }
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
