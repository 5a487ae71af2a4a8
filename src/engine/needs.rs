//! What a script must be allowed elsewhere, as far as it said so.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// The actions that a script's calls and builders need, by the names that policies have for them: `ec2:RunInstances`.
/// Clones note in the same place.
#[derive(Debug, Clone, Default)]
pub struct Needs(Arc<Mutex<BTreeSet<&'static str>>>);

impl Needs {
    /// Notes what is needed.
    pub fn note(&self, actions: impl IntoIterator<Item = &'static str>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(actions);
    }

    /// Returns what was noted, sorted.
    pub fn actions(&self) -> Vec<&'static str> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }
}
