//! Files by SFTP, with many requests in flight.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use russh_sftp::client::rawsession::Limits;
use russh_sftp::client::{Config, RawSftpSession, error::Error as SftpError};
use russh_sftp::protocol::{FileAttributes, OpenFlags, Packet, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::super::pipe::Piece;
use super::channel::reader_gone;
use super::content::{Content, Placed, interrupted};
use super::session::SshCommunicator;
use crate::error::{Error, Kind, Result};
use crate::ui::event::Counter;

/// What may be under way at once.
const IN_FLIGHT: usize = 16 << 20;
/// Every server takes requests of this size; OpenSSH says in its limits that it takes 255 KiB.
const SAFE_REQUEST: u32 = 32 << 10;
/// Larger requests gain nothing.
const LARGEST_REQUEST: u64 = 255 << 10;
const POSIX_RENAME: &str = "posix-rename@openssh.com";

/// What is known about SFTP on the connection.
#[derive(Default)]
pub(super) enum Slot {
    #[default]
    Untried,
    Open(Sftp),
    /// The server has none.
    Missing,
}

/// An SFTP session on the connection.
#[derive(Clone)]
pub(super) struct Sftp {
    pub(super) raw: Arc<RawSftpSession>,
    read_size: u32,
    write_size: u32,
    renames_over: bool,
    /// Cancelled when the server has ended: then nothing answers what was asked.
    ended: CancellationToken,
}

/// The beginning of what is sent goes in small pieces: what the connection gathers before it sends is kept as large as it
/// ever was, on each of the many connections that send a few small files and nothing more.
const SMALL: (u64, usize) = (2 << 20, 8 << 10);

/// A stream that tells when its other end has ended.
struct Watched<S> {
    stream: S,
    sent: u64,
    ended: CancellationToken,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        if matches!(&result, Poll::Ready(read) if read.is_err() || buf.filled().len() == before) {
            self.ended.cancel();
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let piece = if self.sent < SMALL.0 { data.get(..SMALL.1).unwrap_or(data) } else { data };
        let result = Pin::new(&mut self.stream).poll_write(cx, piece);
        if let Poll::Ready(Ok(count)) = &result {
            self.sent += *count as u64;
        }
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl SshCommunicator {
    /// Returns the connection's SFTP session, opened at its first use; none when the server has no SFTP.
    pub(super) async fn sftp(&self) -> Result<Option<Sftp>> {
        let mut slot = self.sftp.lock().await;
        match &*slot {
            Slot::Open(sftp) if !sftp.ended.is_cancelled() => return Ok(Some(sftp.clone())),
            Slot::Missing => return Ok(None),
            Slot::Untried | Slot::Open(_) => {}
        }
        let channel = self.open_extra_channel().await?;
        let started = self.alive(Sftp::start(channel)).await?;
        *slot = started.clone().map_or(Slot::Missing, Slot::Open);
        Ok(started)
    }

    /// Runs a transfer until it is done, or its server or the connection is gone.
    pub(super) async fn with_sftp<T>(
        &self,
        sftp: &Sftp,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<Result<T, Failure>> {
        let watched = async {
            tokio::select! {
                biased;
                result = work => Ok(result),
                () = sftp.ended.cancelled() => Ok(Err(SftpError::UnexpectedBehavior("it has ended".into()).into())),
            }
        };
        self.alive(watched).await
    }

    /// Turns a failure into our error, and forgets a session that failed as such, so that the next file gets a new one;
    /// `what` is like `cannot write /etc/motd`.
    pub(super) async fn sftp_error(&self, what: String, failure: Failure) -> Error {
        match failure {
            Failure::Local(error) => error,
            Failure::Server(SftpError::Status(status)) => {
                let failed = Error::new(Kind::Io, format!("{what} on the machine: {}", status.error_message));
                match status.status_code {
                    StatusCode::PermissionDenied => {
                        failed.hint("the login user may not do that: with { sudo = true } it is done as root")
                    }
                    StatusCode::NoSuchFile => failed.hint("the file or its folder does not exist"),
                    // OpenSSH has no code for it.
                    _ => failed.hint("is the machine's disk full?"),
                }
            }
            Failure::Server(error) => {
                *self.sftp.lock().await = Slot::Untried;
                let gone = if self.is_gone() {
                    self.gone()
                } else {
                    Error::new(Kind::Connect, "the machine's SFTP server failed").caused_by(error)
                };
                gone.within(what)
            }
        }
    }
}

/// What a transfer failed by.
#[derive(Debug)]
pub(super) enum Failure {
    Server(SftpError),
    /// Something on this host.
    Local(Error),
}

impl From<SftpError> for Failure {
    fn from(error: SftpError) -> Failure {
        Failure::Server(error)
    }
}

/// Makes a failure that the server did not see itself.
pub(super) fn refusal(message: impl Into<String>) -> Failure {
    Failure::Local(Error::new(Kind::Io, message))
}

/// Returns a path as the login's home folder sees it: neither SFTP nor a quoted word knows `~`.
pub(super) fn home_relative(path: &str) -> &str {
    match path.strip_prefix("~/") {
        Some("") => ".",
        Some(rest) => rest,
        None if path == "~" => ".",
        None => path,
    }
}

/// Attributes that say a mode and nothing else.
pub(super) fn mode_only(mode: u32) -> FileAttributes {
    FileAttributes { permissions: Some(mode), ..FileAttributes::empty() }
}

/// Returns the kind of file that attributes say, in the bits of a mode.
pub(super) fn kind_of(attributes: &FileAttributes) -> u32 {
    attributes.permissions.unwrap_or(0) & 0o170_000
}

pub(super) const REGULAR: u32 = 0o100_000;
pub(super) const FOLDER: u32 = 0o040_000;
pub(super) const LINK: u32 = 0o120_000;

/// Removes a file that did not become what it was to be, also when its future is dropped.
struct Leftover(Option<(Arc<RawSftpSession>, String)>);

impl Leftover {
    fn kept(mut self) {
        self.0 = None;
    }

    async fn remove(mut self) {
        if let Some((raw, path)) = self.0.take() {
            let _ = raw.remove(path).await;
        }
    }
}

impl Drop for Leftover {
    fn drop(&mut self) {
        if let (Some((raw, path)), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            // Ends at once, or with the connection.
            runtime.spawn(async move { raw.remove(path).await });
        }
    }
}

impl Sftp {
    async fn start(mut channel: russh::Channel<russh::client::Msg>) -> Result<Option<Sftp>> {
        if channel.request_subsystem(true, "sftp").await.is_err() {
            return Ok(None);
        }
        // The stream would swallow a refusal and leave the first request without an answer.
        loop {
            match channel.wait().await {
                Some(russh::ChannelMsg::Success) => break,
                Some(russh::ChannelMsg::WindowAdjusted { .. }) => {}
                _ => {
                    let _ = channel.close().await;
                    return Ok(None);
                }
            }
        }
        // A slow line is not a dead one: keep-alives find out about those.
        let config = Config { max_packet_len: 512 << 10, request_timeout_secs: 24 * 3600, ..Config::default() };
        let ended = CancellationToken::new();
        let stream = Watched { stream: channel.into_stream(), sent: 0, ended: ended.clone() };
        let mut raw = RawSftpSession::new_with_config(stream, config);
        let version = tokio::select! {
            biased;
            version = raw.init() => version,
            () = ended.cancelled() => return Ok(None),
        };
        let Ok(version) = version else { return Ok(None) };
        let (mut read_size, mut write_size) = (SAFE_REQUEST, SAFE_REQUEST);
        if version.extensions.contains_key("limits@openssh.com")
            && let Ok(limits) = raw.limits().await
        {
            let limits = Limits::from(limits);
            let pick = |limit: Option<u64>| u32::try_from(limit.unwrap_or(0).min(LARGEST_REQUEST)).unwrap_or(0);
            read_size = pick(limits.read_len).max(SAFE_REQUEST);
            write_size = pick(limits.write_len).max(SAFE_REQUEST);
            raw.set_limits(limits);
        }
        let renames_over = version.extensions.contains_key(POSIX_RENAME);
        Ok(Some(Sftp { raw: Arc::new(raw), read_size, write_size, renames_over, ended }))
    }

    /// Makes a file of the content: under a temporary name in the same folder, renamed when it is whole. Links are
    /// followed; a device or pipe, and a file in a folder that may not be written to, is written as it is.
    pub(super) async fn put(
        &self,
        content: &Content,
        to: &str,
        mode: u32,
        temporary: &str,
        counter: &Counter,
    ) -> Result<(), Failure> {
        let raw = &self.raw;
        let create = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE;
        let mut to = to.to_owned();
        let mut beside = beside(&to, temporary);
        // In one round trip, for the usual case.
        let (link, found, mut opened) =
            tokio::join!(raw.lstat(&to), raw.stat(&to), raw.open(&beside, create, mode_only(0o600)));
        let found = found.ok().map(|found| found.attrs);
        let kind = found.as_ref().map(kind_of);
        let is_link = link.is_ok_and(|link| kind_of(&link.attrs) == LINK);
        if is_link || !matches!(kind, None | Some(REGULAR)) {
            if let Ok(handle) = opened {
                let _ = raw.close(handle.handle).await;
                let _ = raw.remove(&beside).await;
            }
            if kind == Some(FOLDER) {
                return Err(refusal(format!("cannot write {to} on the machine: it is a folder")));
            }
            if is_link && let Some(target) = raw.realpath(&to).await?.files.pop() {
                to = target.filename;
            }
            if !matches!(kind, None | Some(REGULAR)) {
                return self.put_in_place(content, &to, None, counter).await;
            }
            beside = self::beside(&to, temporary);
            opened = raw.open(&beside, create, mode_only(0o600)).await;
        }
        let handle = match opened {
            Ok(handle) => handle.handle,
            Err(_) if found.is_some() => return self.put_in_place(content, &to, Some(mode), counter).await,
            Err(error) => return Err(error.into()),
        };
        let leftover = Leftover(Some((raw.clone(), beside.clone())));
        let written = self.write(&handle, content, counter).await;
        let attributes = FileAttributes { size: Some(content.size()), ..mode_only(mode) };
        // A file that is there keeps its owner.
        let owner =
            found.as_ref().map(|found| FileAttributes { uid: found.uid, gid: found.gid, ..FileAttributes::empty() });
        let keep_owner = async {
            match owner {
                Some(owner) => raw.fsetstat(handle.clone(), owner).await.map(drop),
                None => Ok(()),
            }
        };
        let (owned, set, closed) =
            tokio::join!(biased; keep_owner, raw.fsetstat(handle.clone(), attributes), raw.close(handle.clone()));
        if let Err(failure) = written.and(set.map(drop).and(closed.map(drop)).map_err(Failure::from)) {
            leftover.remove().await;
            return Err(failure);
        }
        let renamed = match owned {
            Ok(()) => self.rename(&beside, &to, found.is_some()).await,
            Err(error) => Err(error),
        };
        match renamed {
            Ok(()) => {
                leftover.kept();
                Ok(())
            }
            Err(error) => {
                leftover.remove().await;
                // Whoever may not give files away, or not replace this one, may be allowed to write to it.
                if found.is_none() {
                    return Err(error.into());
                }
                counter.set(counter.get().saturating_sub(content.size()));
                self.put_in_place(content, &to, Some(mode), counter).await
            }
        }
    }

    async fn put_in_place(
        &self,
        content: &Content,
        to: &str,
        mode: Option<u32>,
        counter: &Counter,
    ) -> Result<(), Failure> {
        let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE;
        let handle = self.raw.open(to, flags, FileAttributes::empty()).await?.handle;
        let written = self.write(&handle, content, counter).await;
        let set = match mode {
            Some(mode) => {
                let attributes = FileAttributes { size: Some(content.size()), ..mode_only(mode) };
                self.raw.fsetstat(handle.clone(), attributes).await.map(drop)
            }
            None => Ok(()),
        };
        let closed = self.raw.close(handle).await.map(drop);
        written.and(set.and(closed).map_err(Failure::from))
    }

    /// Renames a file over what is there.
    pub(super) async fn rename(&self, from: &str, to: &str, there: bool) -> Result<(), SftpError> {
        if self.renames_over {
            // The draft's own rename refuses what is there; OpenSSH's `PROTOCOL`, section 4.3.
            let mut data = Vec::new();
            for path in [from, to] {
                data.extend_from_slice(&u32::try_from(path.len()).unwrap_or(u32::MAX).to_be_bytes());
                data.extend_from_slice(path.as_bytes());
            }
            return match self.raw.extended(POSIX_RENAME, data).await? {
                Packet::Status(status) if status.status_code == StatusCode::Ok => Ok(()),
                Packet::Status(status) => Err(SftpError::Status(status)),
                _ => Err(SftpError::UnexpectedPacket),
            };
        }
        if there {
            self.raw.remove(to).await?;
        }
        self.raw.rename(from, to).await.map(drop)
    }

    /// Writes what of the content is data to an open file.
    async fn write(&self, handle: &str, content: &Content, counter: &Counter) -> Result<(), Failure> {
        let (mut pieces, producer) = content.read_data();
        let written = self.write_pieces(handle, &mut pieces, counter).await;
        // A producer whose receiver goes away first has nothing to say.
        drop(pieces);
        let read = producer.await.map_err(|e| Failure::Local(interrupted(e)))?;
        written?;
        counter.add(content.size().saturating_sub(read.map_err(Failure::Local)?));
        Ok(())
    }

    async fn write_pieces(
        &self,
        handle: &str,
        pieces: &mut mpsc::Receiver<Placed>,
        counter: &Counter,
    ) -> Result<(), SftpError> {
        let mut waiting = FuturesUnordered::new();
        let mut under_way = 0;
        let mut result = Ok(());
        'pieces: while let Some((start, piece)) = pieces.recv().await {
            let mut offset = start;
            for chunk in piece.chunks(self.write_size as usize) {
                while under_way >= IN_FLIGHT {
                    let Some((length, written)) = waiting.next().await else { break };
                    under_way -= length;
                    if let Err(error) = written {
                        result = Err(error);
                        break 'pieces;
                    }
                    counter.add(length as u64);
                }
                let length = chunk.len();
                let write = self.raw.write(handle, offset, chunk.to_vec());
                waiting.push(async move { (length, write.await.map(drop)) });
                offset += length as u64;
                under_way += length;
            }
        }
        while let Some((length, written)) = waiting.next().await {
            match written {
                Ok(()) => counter.add(length as u64),
                Err(error) => result = result.and(Err(error)),
            }
        }
        result
    }

    /// Tells whether there is a folder at a path.
    pub(super) async fn is_folder(&self, path: &str) -> bool {
        self.raw.stat(path).await.is_ok_and(|found| kind_of(&found.attrs) == FOLDER)
    }

    /// Returns a file's size; special files say 0.
    pub(super) async fn size(&self, path: &str) -> Result<u64, Failure> {
        Ok(self.raw.stat(path).await?.attrs.size.unwrap_or(0))
    }

    /// Reads a file from its beginning to its end, in order; `size` is only a guess.
    pub(super) async fn read(
        &self,
        path: &str,
        size: u64,
        pieces: &mpsc::Sender<Piece>,
        counter: &Counter,
    ) -> Result<u64, Failure> {
        let handle = self.raw.open(path, OpenFlags::READ, FileAttributes::empty()).await?.handle;
        let step = u64::from(self.read_size);
        let request = |offset: u64| {
            let handle = handle.clone();
            async move { (offset, self.raw.read(handle, offset, self.read_size).await) }
        };
        let mut ordered = futures_util::stream::FuturesOrdered::new();
        let depth = (IN_FLIGHT / self.read_size as usize).max(1);
        let mut ask = 0u64;
        let mut received = 0u64;
        let result = 'file: loop {
            // Not beyond the known size, where there is one, by more than the request that finds the end.
            while ordered.len() < depth && (ask <= size || ordered.is_empty()) {
                ordered.push_back(request(ask));
                ask += step;
            }
            let Some((mut offset, mut answer)) = ordered.next().await else { break Ok(()) };
            let end = offset + step;
            loop {
                match answer {
                    Ok(data) if offset + data.data.len() as u64 > end => {
                        let found = data.data.len();
                        break 'file Err(SftpError::UnexpectedBehavior(format!(
                            "{found} bytes answer a smaller request"
                        )));
                    }
                    Ok(data) if !data.data.is_empty() => {
                        let length = data.data.len() as u64;
                        offset += length;
                        received += length;
                        if pieces.send(Piece::Data(data.data.into())).await.is_err() {
                            let _ = self.raw.close(handle.clone()).await;
                            return Err(Failure::Local(reader_gone()));
                        }
                        counter.add(length);
                    }
                    Ok(_) => break 'file Ok(()),
                    Err(SftpError::Status(status)) if status.status_code == StatusCode::Eof => break 'file Ok(()),
                    Err(error) => break 'file Err(error),
                }
                if offset >= end {
                    break;
                }
                // A short answer: ask for the rest of this piece before the next one is passed on.
                let length = u32::try_from(end - offset).unwrap_or(self.read_size);
                answer = self.raw.read(handle.clone(), offset, length).await;
            }
        };
        drop(ordered);
        let closed = self.raw.close(handle.clone()).await.map(drop);
        result.and(closed)?;
        // Files of the kernel's claim a page, and hold less.
        if received < size && size > SAFE_REQUEST.into() {
            return Err(refusal(format!("{path} was to hold {size} bytes, but only {received} came")));
        }
        Ok(received)
    }
}

/// Returns the path of a name in the folder of `path`.
fn beside(path: &str, name: &str) -> String {
    match path.rsplit_once('/') {
        Some((folder, _)) => format!("{folder}/{name}"),
        None => name.to_owned(),
    }
}
