//! Cancellation: a token with children, and the reason why.

use std::future::Future;
use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;

use crate::error::{Error, Kind, Result};

/// A part of the run that can be cancelled as one; cancelling it cancels its children.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    token: CancellationToken,
    reason: Arc<Mutex<Option<Error>>>,
    parent: Option<Arc<Scope>>,
}

impl Scope {
    /// Makes a scope inside of no other.
    pub fn new() -> Scope {
        Scope::default()
    }

    /// Makes a scope that ends with this one, or earlier on its own.
    pub fn child(&self) -> Scope {
        Scope { token: self.token.child_token(), reason: Arc::default(), parent: Some(Arc::new(self.clone())) }
    }

    /// Returns the scope that this one is in at last: the run's.
    pub fn outermost(&self) -> &Scope {
        self.parent.as_ref().map_or(self, |parent| parent.outermost())
    }

    /// Cancels everything in this scope; the first reason given stays.
    pub fn cancel(&self, reason: Error) {
        let mut slot = match self.reason.lock() {
            Ok(slot) => slot,
            Err(poisoned) => poisoned.into_inner(),
        };
        slot.get_or_insert(reason);
        drop(slot);
        self.token.cancel();
    }

    /// Tells whether this scope, or one around it, was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits until the scope is cancelled and returns the reason.
    pub async fn cancelled(&self) -> Error {
        self.token.cancelled().await;
        self.reason()
    }

    /// Returns why this scope, or the nearest one around it, was cancelled.
    pub fn reason(&self) -> Error {
        let own = match self.reason.lock() {
            Ok(slot) => slot.clone(),
            Err(poisoned) => poisoned.into_inner().clone(),
        };
        match (own, &self.parent) {
            (Some(reason), _) => reason,
            (None, Some(parent)) => parent.reason(),
            (None, None) => Error::new(Kind::Cancelled, "cancelled"),
        }
    }

    /// Runs `work` until it ends or the scope is cancelled; then the work is dropped and the reason is the error.
    pub async fn run<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            reason = self.cancelled() => Err(reason),
            result = work => result,
        }
    }
}
