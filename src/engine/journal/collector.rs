//! Finding and removing what is not on this host.

use async_trait::async_trait;
use serde_json::Value;

use crate::error::Result;

/// Removes the resources of one kind of place, by what their makers wrote down before they made them.
#[async_trait]
pub trait Collector: Send + Sync {
    /// Finds what `what` describes and removes it; with `dry_run`, only looks. Returns whether it was there. An error is why
    /// it cannot be told or removed now: it stays in the journal.
    async fn collect(&self, what: &Value, dry_run: bool) -> Result<bool>;
}

/// Every collector, under the name that traces have for it.
pub type Collectors<'a> = &'a [(&'a str, &'a dyn Collector)];
