//! How long output is waited for when the command itself has ended: what it left in the background may hold it open for
//! ever, silently or not.

use std::time::{Duration, Instant};

/// How long there may be silence.
const SILENCE: Duration = Duration::from_secs(2);
/// How long it may go on in all.
const LONGEST: Duration = Duration::from_secs(30);
/// How much may come: more than could have been under way when the command ended.
const MOST: u64 = 32 << 20;

/// What came after a command's end.
#[derive(Debug, Default)]
pub(crate) struct Linger {
    since: Option<Instant>,
    bytes: u64,
}

impl Linger {
    /// Notes that the command has ended.
    pub(crate) fn begin(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    /// Notes that more output came.
    pub(crate) fn took(&mut self, bytes: usize) {
        if self.since.is_some() {
            self.bytes += bytes as u64;
        }
    }

    /// Tells whether enough was waited for.
    pub(crate) fn is_over(&self) -> bool {
        self.bytes > MOST || self.since.is_some_and(|since| since.elapsed() >= LONGEST)
    }

    /// Waits until there was silence for too long; for ever while the command runs.
    pub(crate) async fn silence(&self) {
        match self.since {
            Some(_) => tokio::time::sleep(SILENCE).await,
            None => std::future::pending().await,
        }
    }
}
