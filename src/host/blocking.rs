//! Long blocking work off the reactor, which stops soon after its future is dropped.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Kind, Result};

/// Tells blocking work that nobody waits for it any more.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Returns whether to stop.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Fails once nobody waits any more; to be called between blocks of work.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::new(Kind::Cancelled, "cancelled")) } else { Ok(()) }
    }

    /// The same for code that speaks `io::Result`.
    pub fn check_io(&self) -> io::Result<()> {
        if self.is_cancelled() { Err(io::Error::other("cancelled")) } else { Ok(()) }
    }
}

/// Runs `work` on the blocking pool. Dropping the future sets the flag that `work` is given; what `work` owns is
/// dropped when it notices, so half-made outputs belong inside it.
pub async fn run<T: Send + 'static>(work: impl FnOnce(&Cancel) -> Result<T> + Send + 'static) -> Result<T> {
    struct SetOnDrop(Cancel);
    impl Drop for SetOnDrop {
        fn drop(&mut self) {
            self.0.0.store(true, Ordering::Relaxed);
        }
    }
    let cancel = Cancel::default();
    let _guard = SetOnDrop(cancel.clone());
    match tokio::task::spawn_blocking(move || work(&cancel)).await {
        Ok(result) => result,
        Err(e) => Err(Error::new(Kind::Internal, "blocking work ended without an answer").caused_by(e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn dropping_the_future_stops_the_work() {
        let (tx, rx) = std::sync::mpsc::channel();
        let work = run(move |cancel| {
            while !cancel.is_cancelled() {
                std::thread::yield_now();
            }
            let _ = tx.send(());
            cancel.check()
        });
        assert!(tokio::time::timeout(std::time::Duration::from_millis(50), work).await.is_err());
        tokio::task::spawn_blocking(move || rx.recv_timeout(std::time::Duration::from_secs(10)))
            .await
            .unwrap()
            .unwrap();
    }
}
