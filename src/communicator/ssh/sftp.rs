//! Files by SFTP, with many requests in flight.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use russh_sftp::client::rawsession::Limits;
use russh_sftp::client::{Config, RawSftpSession, error::Error as SftpError};
use russh_sftp::protocol::{FileAttributes, OpenFlags, StatusCode};
use tokio::sync::mpsc;

use super::super::pipe::Piece;
use super::session::SshCommunicator;
use crate::error::{Error, Kind, Result};
use crate::ui::event::Counter;

/// What may be under way at once.
const IN_FLIGHT: usize = 16 << 20;
/// Every server takes requests of this size; OpenSSH says in its limits that it takes 255 KiB.
const SAFE_REQUEST: u32 = 32 << 10;
/// Larger requests gain nothing.
const LARGEST_REQUEST: u64 = 255 << 10;

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
    raw: Arc<RawSftpSession>,
    read_size: u32,
    write_size: u32,
}

impl SshCommunicator {
    /// Returns the connection's SFTP session, opened at its first use; none when the server has no SFTP.
    pub(super) async fn sftp(&self) -> Result<Option<Sftp>> {
        let mut slot = self.sftp.lock().await;
        match &*slot {
            Slot::Open(sftp) => return Ok(Some(sftp.clone())),
            Slot::Missing => return Ok(None),
            Slot::Untried => {}
        }
        let channel = self.open_extra_channel().await?;
        let started = self.alive(Sftp::start(channel)).await?;
        *slot = started.clone().map_or(Slot::Missing, Slot::Open);
        Ok(started)
    }

    /// Forgets an SFTP session that failed as such, so that the next file gets a new one.
    pub(super) async fn forget_sftp(&self, error: &SftpError) {
        if !matches!(error, SftpError::Status(_)) {
            *self.sftp.lock().await = Slot::Untried;
        }
    }

    /// Turns an SFTP error into ours; `what` is like `cannot write /etc/motd`.
    pub(super) fn sftp_error(&self, what: String, error: SftpError) -> Error {
        match &error {
            SftpError::Status(status) => {
                let failed = Error::new(Kind::Io, format!("{what} on the machine: {}", status.error_message));
                match status.status_code {
                    StatusCode::PermissionDenied => {
                        failed.hint("the login user may not do that: upload to /tmp and move it with sudo")
                    }
                    StatusCode::NoSuchFile => failed.hint("the file or its folder does not exist"),
                    // OpenSSH has no code for it.
                    _ => failed.hint("is the machine's disk full?"),
                }
            }
            _ => self.gone().within(what),
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
        let mut raw = RawSftpSession::new_with_config(channel.into_stream(), config);
        let Ok(version) = raw.init().await else { return Ok(None) };
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
        Ok(Some(Sftp { raw: Arc::new(raw), read_size, write_size }))
    }

    /// Writes pieces to a file as they come, and gives it its mode.
    pub(super) async fn write(
        &self,
        path: &str,
        mode: u32,
        pieces: &mut mpsc::Receiver<Bytes>,
        counter: &Counter,
    ) -> Result<u64, SftpError> {
        // Private until it is whole.
        let attributes = |mode| FileAttributes { permissions: Some(mode), ..FileAttributes::empty() };
        let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE;
        let handle = self.raw.open(path, flags, attributes(0o600)).await?.handle;
        let mut waiting = FuturesUnordered::new();
        let mut under_way = 0;
        let mut offset = 0u64;
        let mut result = Ok(());
        'pieces: while let Some(piece) = pieces.recv().await {
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
                let write = self.raw.write(handle.clone(), offset, chunk.to_vec());
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
        if result.is_ok() {
            result = self.raw.fsetstat(handle.clone(), attributes(mode)).await.map(drop);
        }
        let closed = self.raw.close(handle).await.map(drop);
        result.and(closed).map(|()| offset)
    }

    /// Returns a file's size; special files say 0.
    pub(super) async fn size(&self, path: &str) -> Result<u64, SftpError> {
        Ok(self.raw.stat(path).await?.attrs.size.unwrap_or(0))
    }

    /// Reads a file from its beginning to its end, in order; `size` is only a guess.
    pub(super) async fn read(
        &self,
        path: &str,
        size: u64,
        pieces: &mpsc::Sender<Piece>,
        counter: &Counter,
    ) -> Result<u64, SftpError> {
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
                    Ok(data) if !data.data.is_empty() => {
                        let length = data.data.len() as u64;
                        offset += length;
                        received += length;
                        if pieces.send(Piece::Data(data.data.into())).await.is_err() {
                            break 'file Ok(());
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
        result.and(closed).map(|()| received)
    }
}
