//! `vm:breakpoint`: a place where a person may look around.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use super::attempt::context;
use crate::engine::{Operation, Session};
use crate::error::{Error, Kind, Result};

/// How often the prompt looks whether it is still wanted.
const LOOK_EVERY: rustix::event::Timespec = rustix::event::Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Options of `vm:breakpoint`, Packer's.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakpointOptions {
    /// What to tell the person who looks.
    pub note: Option<String>,
    /// Whether it is passed over.
    pub disable: bool,
}

/// Tells the prompt that nobody waits for it any more.
struct Wanted(Arc<AtomicBool>);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Waits until a person presses Enter. Only with `--debug` and on a terminal; else it says so and goes on, and is no
/// operation: to put one in changes nothing of what follows. Where it stops, what the person did is not known.
pub async fn breakpoint(session: &Arc<Session>, options: BreakpointOptions) -> Result<()> {
    if session.is_pretended() || !stops(session, &options) {
        return Ok(());
    }
    let operation = Operation::new("breakpoint", options.note.as_deref().unwrap_or_default(), &options).aside();
    session
        .perform(operation, move |session| {
            let options = options.clone();
            async move { stop(&session, &options).await }
        })
        .await
}

/// Tells whether there is somebody to stop for, and says why not.
fn stops(session: &Session, options: &BreakpointOptions) -> bool {
    let cx = context(session);
    if options.disable {
        return false;
    }
    if !cx.settings.debug {
        cx.ui.info(format!("{}: passing a breakpoint: it stops only with --debug", session.name()));
        return false;
    }
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        cx.ui.warn(format!("{}: passing a breakpoint: there is no terminal to ask on", session.name()));
        return false;
    }
    true
}

async fn stop(session: &Session, options: &BreakpointOptions) -> Result<()> {
    let cx = context(session);
    let text = prompt(session, options.note.as_deref().unwrap_or_default());
    let wanted = Wanted(Arc::new(AtomicBool::new(true)));
    let flag = wanted.0.clone();
    let ui = cx.ui.clone();
    let asked = tokio::task::spawn_blocking(move || ui.suspend(move || ask(&text, &flag))).await;
    drop(wanted);
    match asked {
        Ok(Some(result)) => result,
        Ok(None) => Ok(()),
        Err(error) => Err(Error::new(Kind::Internal, "the prompt was interrupted").caused_by(error)),
    }
}

fn prompt(session: &Session, note: &str) -> String {
    let mut text = format!("\n{} stops at a breakpoint", session.name());
    if !note.is_empty() {
        text.push_str(&format!(": {note}"));
    }
    if let Some(machine) = session.machine()
        && let Some((host, port)) = machine.address()
    {
        let user = machine.user().map(|user| format!("{user}@")).unwrap_or_default();
        text.push_str(&format!("\n  look around from another terminal: ssh -p {port} {user}{host}"));
    }
    text.push_str("\n  press Enter to go on: ");
    text
}

/// Asks on the terminal, and gives up when the flag falls: a blocking read could not be cancelled.
fn ask(text: &str, wanted: &AtomicBool) -> Result<()> {
    let failed = |e: std::io::Error| Error::new(Kind::Io, "cannot ask on the terminal").caused_by(e);
    let mut terminal = std::io::stderr();
    terminal.write_all(text.as_bytes()).and_then(|()| terminal.flush()).map_err(failed)?;
    let stdin = std::io::stdin();
    while wanted.load(Ordering::Acquire) {
        let mut fds = [rustix::event::PollFd::new(&stdin, rustix::event::PollFlags::IN)];
        match rustix::event::poll(&mut fds, Some(&LOOK_EVERY)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => {
                let mut line = String::new();
                return stdin.read_line(&mut line).map(drop).map_err(failed);
            }
            Err(error) => return Err(failed(error.into())),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provisioner::testing::Bench;

    #[tokio::test]
    async fn without_debug_it_says_so_and_goes_on() {
        let bench = Bench::new();
        breakpoint(&bench.session, BreakpointOptions::default()).await.unwrap();
        assert!(bench.output().concat().contains("only with --debug"));
    }
}
