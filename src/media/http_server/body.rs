//! What is sent, and the event that says so once it is sent or broken off.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Body, Frame, SizeHint};

use crate::ui::{Event, Ui};

/// The content of an answer.
pub(super) type Content = UnsyncBoxBody<Bytes, std::io::Error>;

/// Returns content that is in memory.
pub(super) fn full(bytes: impl Into<Bytes>) -> Content {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Returns no content.
pub(super) fn empty() -> Content {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// One line of the access log, emitted on drop: when the answer is with the client, or the client is gone.
pub(super) struct Entry {
    pub(super) ui: Ui,
    pub(super) address: SocketAddr,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) status: u16,
    pub(super) sent: u64,
    pub(super) started: Instant,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.ui.emit(Event::HttpRequest {
            build: self.ui.build(),
            address: self.address.to_string(),
            method: std::mem::take(&mut self.method),
            path: std::mem::take(&mut self.path),
            status: self.status,
            bytes: self.sent,
            seconds: self.started.elapsed().as_secs_f64(),
        });
    }
}

/// Content whose sending is logged.
pub(super) struct Logged {
    pub(super) content: Content,
    pub(super) entry: Entry,
}

impl Body for Logged {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        let polled = Pin::new(&mut self.content).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            self.entry.sent += data.len() as u64;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}
