//! What ends an operation before its time: its limit, and the death of its machine.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;

use super::machine::Health;
use crate::error::{Error, Kind, Result};

/// How long a lost connection waits for the news that the machine itself died.
const OBITUARY_GRACE: Duration = Duration::from_millis(800);

/// Ends `action` with an error when it takes longer than `limit`.
pub(super) async fn within_limit<T>(limit: Option<Duration>, action: impl Future<Output = Result<T>>) -> Result<T> {
    match limit {
        None => action.await,
        Some(limit) => tokio::time::timeout(limit, action).await.unwrap_or_else(|_| {
            Err(Error::new(Kind::Timeout, format!("took longer than its timeout of {limit:?}"))
                .hint("give it a longer `timeout`, or find out with a shorter command what it waits for"))
        }),
    }
}

/// Runs `action`, but fails with the machine's cause of death as soon as it is known.
pub(super) async fn watch_health<T>(
    mut health: watch::Receiver<Health>,
    survives_death: bool,
    action: impl Future<Output = Result<T>>,
) -> Result<T> {
    let died = async |health: &mut watch::Receiver<Health>| loop {
        if let Health::Dead(why) = &*health.borrow_and_update() {
            return Error::new(Kind::Machine, format!("the machine died: {why}"));
        }
        if health.changed().await.is_err() {
            // Nobody watches this machine any more; it will not die of anything we hear of.
            std::future::pending::<()>().await;
        }
    };
    if survives_death {
        return action.await;
    }
    let result = tokio::select! {
        biased;
        error = died(&mut health) => return Err(error),
        result = action => result,
    };
    match result {
        // A connection often notices before the machine's watcher does.
        Err(error) if matches!(error.kind(), Kind::Connect | Kind::Network) => {
            match tokio::time::timeout(OBITUARY_GRACE, died(&mut health)).await {
                Ok(obituary) => Err(obituary),
                Err(_) => Err(error),
            }
        }
        other => other,
    }
}
