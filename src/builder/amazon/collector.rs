//! Removing what a killed run left in an account.

use async_trait::async_trait;
use serde_json::Value;

use super::made;
use crate::engine::journal::collector::Collector;
use crate::error::Result;

/// The collector of Amazon's traces.
pub struct Amazon;

#[async_trait]
impl Collector for Amazon {
    async fn collect(&self, what: &Value, dry_run: bool) -> Result<bool> {
        made::collect(what, dry_run).await
    }
}
