//! A bounded pipe between async code and blocking readers and writers.

use std::io::{self, Read, Write};

use bytes::{Buf, Bytes, BytesMut};
use tokio::sync::mpsc;

/// How many pieces may be under way.
const DEPTH: usize = 16;
/// How large a written piece grows before it is sent.
const PIECE: usize = 256 << 10;

/// What travels towards a blocking reader. The end is said, not guessed: a pipe that breaks off is an error there.
pub enum Piece {
    Data(Bytes),
    /// All of it was sent and all is well.
    End,
}

/// Makes a pipe that blocking code writes into and async code receives from.
pub fn outgoing() -> (PipeWriter, mpsc::Receiver<Bytes>) {
    let (tx, rx) = mpsc::channel(DEPTH);
    (PipeWriter { tx, buffer: BytesMut::new() }, rx)
}

/// Makes a pipe that async code sends into and blocking code reads from.
pub fn incoming() -> (mpsc::Sender<Piece>, PipeReader) {
    let (tx, rx) = mpsc::channel(DEPTH);
    (tx, PipeReader { rx, current: Bytes::new(), ended: false })
}

/// The blocking end of [`outgoing`]. What is not flushed is lost.
pub struct PipeWriter {
    tx: mpsc::Sender<Bytes>,
    buffer: BytesMut,
}

impl PipeWriter {
    /// Sends a piece as it is, after what was written before.
    pub fn send(&mut self, piece: Bytes) -> io::Result<()> {
        self.flush()?;
        self.tx.blocking_send(piece).map_err(|_| broken())
    }
}

impl Write for PipeWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.buffer.capacity() == 0 {
            self.buffer.reserve(PIECE);
        }
        self.buffer.extend_from_slice(data);
        if self.buffer.len() >= PIECE {
            self.flush()?;
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = std::mem::take(&mut self.buffer).freeze();
        self.tx.blocking_send(piece).map_err(|_| broken())
    }
}

/// The blocking end of [`incoming`].
pub struct PipeReader {
    rx: mpsc::Receiver<Piece>,
    current: Bytes,
    ended: bool,
}

impl PipeReader {
    /// Returns the next piece, or none at the end.
    pub fn piece(&mut self) -> io::Result<Option<Bytes>> {
        if self.current.has_remaining() {
            return Ok(Some(std::mem::take(&mut self.current)));
        }
        if self.ended {
            return Ok(None);
        }
        match self.rx.blocking_recv() {
            Some(Piece::Data(data)) => Ok(Some(data)),
            Some(Piece::End) => {
                self.ended = true;
                Ok(None)
            }
            None => Err(broken()),
        }
    }

    /// Waits for the end, ignoring what comes before it.
    pub fn finish(&mut self) -> io::Result<()> {
        while self.piece()?.is_some() {}
        Ok(())
    }
}

impl Read for PipeReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while !self.current.has_remaining() {
            match self.piece()? {
                Some(piece) => self.current = piece,
                None => return Ok(0),
            }
        }
        let count = self.current.remaining().min(into.len());
        if let Some(into) = into.get_mut(..count) {
            self.current.copy_to_slice(into);
        }
        Ok(count)
    }
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the transfer was broken off")
}
