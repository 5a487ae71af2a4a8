//! Time limits, pauses and further attempts of one operation.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::{BuildCx, Communicator, Seconds, Session};
use crate::error::{Error, Kind, Result};

/// The pause before a transfer starts over.
const RECONNECT_DELAY: Duration = Duration::from_millis(500);
/// How often a transfer starts over after its connection dropped.
const RECONNECTS: u32 = 3;

/// Returns the surroundings of the code that runs now: of its step and timeout where there are any.
pub fn context(session: &Session) -> BuildCx {
    BuildCx::current().unwrap_or_else(|| session.cx().clone())
}

/// Ends `work` with an error when it takes longer than `limit`.
pub async fn limited<T>(limit: Option<Seconds>, work: impl Future<Output = Result<T>>) -> Result<T> {
    let Some(Seconds(limit)) = limit else { return work.await };
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        Err(Error::new(Kind::Timeout, format!("took longer than its timeout of {limit:?}"))
            .hint("give it a longer `timeout`, or find out with a shorter command what it waits for"))
    })
}

/// Makes a transfer, and starts it over on a new connection when the one it used drops. Nothing is half done by one
/// that was cut off, so this is safe; commands are never repeated unless it is asked for.
pub async fn reconnecting<T, Fut>(
    session: &Session,
    mut transfer: impl FnMut(Arc<dyn Communicator>) -> Fut,
) -> Result<T>
where
    Fut: Future<Output = Result<T>>,
{
    let mut left = RECONNECTS;
    loop {
        // A machine that cannot be reached again was waited for already.
        let communicator = session.communicator().await?;
        match transfer(communicator).await {
            Err(error) if left > 0 && is_lost(&error) => {
                let cx = context(session);
                cx.ui.warn(format!("{error}; starting over on a new connection, {left} more times at most"));
                tokio::time::sleep(RECONNECT_DELAY).await;
                left -= 1;
            }
            result => return result,
        }
    }
}

/// Tells whether the connection broke.
pub fn is_lost(error: &Error) -> bool {
    matches!(error.kind(), Kind::Connect | Kind::Network)
}

/// Waits, with a word about it when it is worth one.
pub async fn pause(cx: &BuildCx, what: &str, time: Option<Seconds>) {
    let Some(Seconds(time)) = time.filter(|time| !time.0.is_zero()) else { return };
    cx.ui.debug(format!("pausing {time:?} {what}"));
    tokio::time::sleep(time).await;
}
