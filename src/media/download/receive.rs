//! Receiving one file, over several connections if need be.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response, StatusCode, header};
use tokio::sync::mpsc;

use super::content_range::ContentRange;
use super::part::{Origin, Piece};
use super::remote::{Refusal, Remote};
use super::wanted::Failure;
use crate::engine::BuildCx;
use crate::error::{Error, Kind};
use crate::host::disk;
use crate::media::cache::{Note, Validator};
use crate::media::http;
use crate::ui::event::Unit;
use crate::ui::{Progress, units};

/// How often in a row a transfer may fail without getting any further.
const ATTEMPTS: u32 = 3;
/// The pause before the first repetition; it doubles.
const PAUSE: Duration = Duration::from_millis(400);
/// The longest pause that a server is granted when it asks for one.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Names of files that are compressed themselves: a server may say so in `Content-Encoding`, which changes nothing.
const COMPRESSED: [&str; 6] = [".gz", ".tgz", ".xz", ".bz2", ".zst", ".svgz"];

/// One transfer of one file.
pub struct Transfer<'a> {
    pub remote: &'a Remote,
    /// Where it is written to, which has to have room for it.
    pub folder: PathBuf,
    /// The note of what is there already, for the server to say that it is still the same.
    pub known: Option<&'a Note>,
    /// Whether a checksum will tell if the pieces fit together.
    pub checked: bool,
    pub cx: &'a BuildCx,
    /// Bytes handed to the writer.
    pub done: u64,
    /// What they are the beginning of.
    pub validator: Validator,
    /// Whether the part can be taken up by a later run.
    pub keep: Arc<AtomicBool>,
    total: Option<u64>,
    /// Whether a server can be asked for the rest of a file.
    ranges: bool,
    /// Whether what is there came in more than one piece.
    pieced: bool,
    /// What the server did to the file on the way.
    encoding: Option<String>,
    progress: Option<Progress>,
}

/// How a transfer ended.
pub enum Received {
    /// The file is whole.
    Whole {
        validator: Validator,
        /// Whether it is put together from pieces, which may not fit.
        pieced: bool,
        /// What the server says it did to the file on the way.
        encoding: Option<String>,
    },
    /// The server says that what is known is still the same.
    Unchanged,
}

enum Attempt {
    Complete,
    Unchanged,
    /// A piece came, and there is more.
    Piece,
}

enum Stop {
    /// It will be the same next time.
    Final(Error),
    /// Worth another try, after the time that the server asks for.
    Passing(Error, Option<Duration>),
    /// Nothing that another server could do better.
    Here(Error),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Stop {
        if refusal.passing { Stop::Passing(refusal.error, refusal.after) } else { Stop::Final(refusal.error) }
    }
}

impl<'a> Transfer<'a> {
    /// Begins, or goes on after `done` bytes of what `validator` tells.
    pub fn new(
        remote: &'a Remote,
        folder: PathBuf,
        known: Option<&'a Note>,
        checked: bool,
        (done, validator): (u64, Validator),
        keep: Arc<AtomicBool>,
        cx: &'a BuildCx,
    ) -> Transfer<'a> {
        Transfer {
            remote,
            folder,
            known,
            checked,
            cx,
            done,
            validator,
            keep,
            total: None,
            ranges: true,
            pieced: false,
            encoding: None,
            progress: None,
        }
    }

    /// Receives the whole file and hands it to the writer.
    pub async fn run(mut self, pieces: mpsc::Sender<Piece>) -> Result<Received, Failure> {
        let client = http::client().map_err(Failure::Here)?;
        let mut failures = 0;
        loop {
            let before = self.done;
            match self.attempt(&client, &pieces).await {
                Ok(Attempt::Complete) => {
                    return Ok(Received::Whole {
                        validator: self.validator,
                        pieced: self.pieced,
                        encoding: self.encoding,
                    });
                }
                Ok(Attempt::Unchanged) => return Ok(Received::Unchanged),
                Ok(Attempt::Piece) if self.done > before => failures = 0,
                Ok(Attempt::Piece) => {
                    let error = Error::new(Kind::Network, format!("{} sends nothing", self.remote.shown()));
                    return Err(Failure::There(error));
                }
                Err(Stop::Final(error)) => return Err(Failure::There(error)),
                Err(Stop::Here(error)) => return Err(Failure::Here(error)),
                Err(Stop::Passing(error, asked)) => {
                    failures = if self.done > before { 1 } else { failures + 1 };
                    if failures >= ATTEMPTS {
                        return Err(Failure::There(error));
                    }
                    self.cx.ui.debug(format!("{error}; trying again"));
                    let asked = asked.unwrap_or_default().min(LONGEST_PAUSE);
                    let pause = asked.max(PAUSE * 2u32.pow(failures - 1));
                    let waiting = || format!("Waiting {} as the server asks", units::seconds(pause.as_secs_f64()));
                    let _shown = (asked == pause).then(|| self.cx.ui.progress(waiting(), None, Unit::Spinner));
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    fn request(&self, client: &Client) -> Result<RequestBuilder, Stop> {
        let mut request = self.remote.get(client, &self.cx.ui).map_err(Stop::Final)?;
        let same = self.validator.for_range();
        if self.done > 0 && self.ranges && (same.is_some() || self.checked) {
            request = request.header(header::RANGE, format!("bytes={}-", self.done));
            if let Some(same) = same {
                request = request.header(header::IF_RANGE, same);
            }
        } else if let Some(known) = self.known {
            if let Some(etag) = &known.validator.etag {
                request = request.header(header::IF_NONE_MATCH, etag);
            } else if let Some(time) = &known.validator.last_modified {
                request = request.header(header::IF_MODIFIED_SINCE, time);
            }
        }
        Ok(request)
    }

    async fn attempt(&mut self, client: &Client, pieces: &mpsc::Sender<Piece>) -> Result<Attempt, Stop> {
        let request = self.request(client)?;
        let mut response = request.send().await.map_err(|e| self.remote.failure(e))?;
        let range = text(&response, header::CONTENT_RANGE);
        let parsed = range.as_deref().and_then(ContentRange::parse);
        match response.status() {
            StatusCode::NOT_MODIFIED if self.known.is_some() => return Ok(Attempt::Unchanged),
            StatusCode::OK => self.begins(&response, pieces).await?,
            StatusCode::PARTIAL_CONTENT if self.fits(parsed, &response) => self.pieced = true,
            // All of it was there, but for its name.
            StatusCode::RANGE_NOT_SATISFIABLE
                if self.done > 0 && parsed == Some(ContentRange::Unsatisfied { total: self.done }) =>
            {
                self.pieced = true;
                return Ok(Attempt::Complete);
            }
            // A range that does not fit: the file has changed, or the server does not know how; from the start, then.
            StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::PARTIAL_CONTENT if self.done > 0 => {
                let asked = self.done;
                self.restart(Validator::default(), pieces).await?;
                self.ranges = false;
                let found = range.unwrap_or_else(|| "no range".to_owned());
                let message = format!("{} was asked for bytes {asked}- and answers {found:?}", self.remote.shown());
                return Err(Stop::Passing(Error::new(Kind::Network, message), None));
            }
            _ => return Err(self.remote.refusal(response).await.into()),
        }
        self.check_room()?;
        self.show();
        while let Some(bytes) = response.chunk().await.map_err(|e| self.remote.failure(e))? {
            let n = bytes.len() as u64;
            send(pieces, Piece::Data(bytes)).await?;
            self.done += n;
            if let Some(progress) = &self.progress {
                progress.add(n);
            }
        }
        match self.total {
            Some(total) if self.done < total => Ok(Attempt::Piece),
            Some(total) if self.done > total => {
                let message = format!("{} sends more than the {total} bytes it has", self.remote.shown());
                self.restart(Validator::default(), pieces).await?;
                self.ranges = false;
                Err(Stop::Passing(Error::new(Kind::Network, message), None))
            }
            _ => Ok(Attempt::Complete),
        }
    }

    /// Takes an answer that holds the whole file.
    async fn begins(&mut self, response: &Response, pieces: &mpsc::Sender<Piece>) -> Result<(), Stop> {
        let encoding = text(response, header::CONTENT_ENCODING).filter(|e| !e.eq_ignore_ascii_case("identity"));
        let name = self.remote.file_name().to_ascii_lowercase();
        self.encoding = encoding.filter(|_| !COMPRESSED.iter().any(|end| name.ends_with(end)));
        if let (Some(encoding), false) = (&self.encoding, self.checked) {
            let message =
                format!("{} comes encoded as {encoding}, although that was not asked for", self.remote.shown());
            return Err(Stop::Final(
                Error::new(Kind::Network, message)
                    .hint("the server changes the file on the way: use a mirror, or have it configured")
                    .hint("with a checksum, the file is taken if it is the right one all the same"),
            ));
        }
        let validator =
            Validator { etag: text(response, header::ETAG), last_modified: text(response, header::LAST_MODIFIED) };
        self.total = response.content_length();
        self.restart(validator, pieces).await
    }

    async fn restart(&mut self, validator: Validator, pieces: &mpsc::Sender<Piece>) -> Result<(), Stop> {
        send(pieces, Piece::Begin(Origin::new(self.remote.id(), validator.clone()))).await?;
        self.keep.store(self.checked || validator.for_range().is_some(), Ordering::Relaxed);
        self.done = 0;
        self.pieced = false;
        self.validator = validator;
        Ok(())
    }

    /// Tells whether a partial answer is the rest that was asked for, or its beginning.
    fn fits(&mut self, range: Option<ContentRange>, response: &Response) -> bool {
        let Some(ContentRange::Part { first, last, total }) = range else { return false };
        let length = response.content_length().is_none_or(|length| length == last - first + 1);
        let same = self.total.is_none() || total.is_none() || self.total == total;
        if self.done == 0 || first != self.done || !length || !same {
            return false;
        }
        self.total = self.total.or(total);
        true
    }

    /// Fails before a disk is filled in vain.
    fn check_room(&self) -> Result<(), Stop> {
        let (Some(total), Some(free)) = (self.total, disk::free(&self.folder)) else { return Ok(()) };
        let rest = total.saturating_sub(self.done);
        if rest <= free {
            return Ok(());
        }
        let (rest, free) = (units::size(rest), units::size(free));
        let message = format!("{} needs {rest}, and {free} are free in {}", self.remote.shown(), self.folder.display());
        Err(Stop::Here(Error::new(Kind::Io, message).hint("free some space, or point RIMG_CACHE_DIR at another disk")))
    }

    fn show(&mut self) {
        let (total, name) = (self.total, self.remote.file_name());
        let ui = &self.cx.ui;
        let progress =
            self.progress.get_or_insert_with(|| ui.progress(format!("Downloading {name}"), total, Unit::Bytes));
        progress.set(self.done);
    }
}

fn text(response: &Response, name: header::HeaderName) -> Option<String> {
    response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

async fn send(pieces: &mpsc::Sender<Piece>, piece: Piece) -> Result<(), Stop> {
    let gone = |_| Stop::Here(Error::new(Kind::Io, "cannot write the download"));
    pieces.send(piece).await.map_err(gone)
}
