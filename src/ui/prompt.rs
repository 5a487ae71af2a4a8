//! Asking the person at the terminal.

use std::future::Future;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Ui;
use crate::error::{Error, Kind, Result};

/// How often the prompt looks whether it is still wanted.
const LOOK_EVERY: rustix::event::Timespec = rustix::event::Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Tells whether there is a terminal to ask on.
pub fn is_possible() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Tells the prompt that nobody waits for it any more.
struct Wanted(Arc<AtomicBool>);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Shows `text` on the terminal, where nothing else is written meanwhile, and returns the line that is answered. To cancel
/// it is to drop it.
pub async fn ask(ui: &Ui, text: String) -> Result<String> {
    let wanted = Wanted(Arc::new(AtomicBool::new(true)));
    let (flag, ui) = (wanted.0.clone(), ui.clone());
    let asked = tokio::task::spawn_blocking(move || ui.suspend(move || read(&text, &flag))).await;
    drop(wanted);
    match asked {
        Ok(Some(answer)) => answer,
        Ok(None) => Ok(String::new()),
        Err(error) => Err(Error::new(Kind::Internal, "the prompt was interrupted").caused_by(error)),
    }
}

/// Lends the terminal to `work`: nothing else is written to it meanwhile.
pub async fn lend<T>(ui: &Ui, work: impl Future<Output = T>) -> T {
    let (lent, given_back) = std::sync::mpsc::channel::<()>();
    let (ready, is_ready) = tokio::sync::oneshot::channel();
    let ui = ui.clone();
    let quiet = tokio::task::spawn_blocking(move || {
        ui.suspend(move || {
            let _ = ready.send(());
            // Ends when the other side is dropped.
            let _ = given_back.recv();
        })
    });
    let _ = is_ready.await;
    let done = work.await;
    drop(lent);
    let _ = quiet.await;
    done
}

/// Asks, and gives up when the flag falls: a blocking read could not be cancelled.
fn read(text: &str, wanted: &AtomicBool) -> Result<String> {
    let failed = |e: std::io::Error| Error::new(Kind::Io, "cannot ask on the terminal").caused_by(e);
    let mut terminal = std::io::stderr();
    terminal.write_all(text.as_bytes()).and_then(|()| terminal.flush()).map_err(failed)?;
    let stdin = std::io::stdin();
    let mut line = String::new();
    while wanted.load(Ordering::Acquire) {
        let mut fds = [rustix::event::PollFd::new(&stdin, rustix::event::PollFlags::IN)];
        match rustix::event::poll(&mut fds, Some(&LOOK_EVERY)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return stdin.read_line(&mut line).map(|_| line.trim().to_owned()).map_err(failed),
            Err(error) => return Err(failed(error.into())),
        }
    }
    Ok(line)
}
