//! The one signal handler: the first signal cancels the run, the second ends the process.

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::AbortHandle;

use super::dispatch::Exit;
use crate::engine::Scope;
use crate::error::{Context, Error, Kind, Result};
use crate::ui::Ui;

/// Cancels `scope` at the first SIGINT, SIGTERM or SIGHUP. Must be called inside the runtime.
pub fn listen(scope: Scope, ui: Ui) -> Result<AbortHandle> {
    let open = |kind| signal(kind).context(Kind::Host, "cannot listen for signals");
    let mut interrupt = open(SignalKind::interrupt())?;
    let mut terminate = open(SignalKind::terminate())?;
    // Under nohup a hangup means nothing, and listening would give it a meaning.
    let mut hangup = if hangup_is_ignored() { None } else { Some(open(SignalKind::hangup())?) };
    let task = tokio::spawn(async move {
        let mut pressed = false;
        loop {
            let name = tokio::select! {
                _ = interrupt.recv() => "SIGINT",
                _ = terminate.recv() => "SIGTERM",
                () = received(hangup.as_mut()) => "SIGHUP",
            };
            if pressed {
                end_now(Exit::Cancelled);
            }
            pressed = true;
            ui.info(format!("{name}: cancelling, cleaning up; once more to stop at once"));
            scope.cancel(Error::new(Kind::Cancelled, format!("cancelled by {name}")));
        }
    });
    Ok(task.abort_handle())
}

/// Waits for a signal that may not be listened for.
async fn received(signal: Option<&mut tokio::signal::unix::Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// Ends the process without cleaning up.
#[expect(clippy::disallowed_methods, reason = "the user asked for the end without cleaning up")]
pub fn end_now(exit: Exit) -> ! {
    std::process::exit(exit as i32);
}

/// Returns whether whoever started this process had SIGHUP ignored.
fn hangup_is_ignored() -> bool {
    let ignored = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = ignored.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 != 0)
}
