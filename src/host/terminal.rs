//! The terminal of the person who started rimg, handed over to a program elsewhere.

use std::io::{IsTerminal, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::sync::mpsc;

use crate::error::{Context, Error, Kind, Result};

/// How many pieces of input may wait to be sent.
const PIECES: usize = 16;
const PIECE: usize = 16 << 10;

/// Tells whether a person types and reads here.
pub fn is_interactive() -> bool {
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

/// Returns the columns and rows of the terminal; the usual ones where it does not say.
pub fn size() -> (u32, u32) {
    match tcgetwinsize(std::io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (u32::from(size.ws_col), u32::from(size.ws_row)),
        _ => (80, 24),
    }
}

/// Passes every key on as it is, until it is dropped.
pub struct Raw(Termios);

impl Raw {
    /// Makes the terminal raw.
    pub fn enter() -> Result<Raw> {
        let cannot = "cannot make the terminal raw";
        let before = tcgetattr(std::io::stdin()).context(Kind::Io, cannot)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(std::io::stdin(), OptionalActions::Drain, &raw).context(Kind::Io, cannot)?;
        Ok(Raw(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Drain, &self.0);
    }
}

/// Standard input, read by a thread as long as somebody wants it: what comes later is the next one's.
pub struct Input {
    pieces: mpsc::Receiver<Vec<u8>>,
    stop: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl Input {
    /// Begins to read.
    pub fn open() -> Result<Input> {
        let (stop, stopped) = UnixStream::pair().context(Kind::Host, "cannot make a socket")?;
        let (sender, pieces) = mpsc::channel(PIECES);
        let thread = std::thread::spawn(move || read(&stopped, &sender));
        Ok(Input { pieces, stop, thread: Some(thread) })
    }

    /// Returns the next piece; none at the end of input.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        self.pieces.recv().await
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        self.pieces.close();
        let _ = self.stop.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn read(stopped: &UnixStream, pieces: &mpsc::Sender<Vec<u8>>) {
    let stdin = std::io::stdin();
    let mut buffer = vec![0; PIECE];
    loop {
        let mut fds = [PollFd::new(&stdin, PollFlags::IN), PollFd::new(stopped, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(_) => return,
        }
        let [input, stop] = &fds;
        if !stop.revents().is_empty() {
            return;
        }
        if input.revents().is_empty() {
            continue;
        }
        match rustix::io::read(&stdin, &mut buffer) {
            Ok(0) => return,
            Ok(count) => {
                let piece = buffer.get(..count).unwrap_or_default().to_vec();
                if pieces.blocking_send(piece).is_err() {
                    return;
                }
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => return,
        }
    }
}

/// Writes what came from there to standard output or standard error.
pub async fn write(piece: Vec<u8>, is_error: bool) -> Result<()> {
    let written = tokio::task::spawn_blocking(move || match is_error {
        true => std::io::stderr().write_all(&piece),
        false => {
            let mut out = std::io::stdout().lock();
            out.write_all(&piece).and_then(|()| out.flush())
        }
    });
    match written.await {
        Ok(written) => written.context(Kind::Io, "cannot write to standard output"),
        Err(error) => Err(Error::new(Kind::Internal, "writing was interrupted").caused_by(error)),
    }
}
