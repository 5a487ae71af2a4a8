//! Whose the things are that this process makes: the run that it works for, and who writes down where they are.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, Weak};

use crate::error::Result;

/// The variable in the environment of every process that a run starts, with the run's id: what finds them after a crash,
/// and those that they started in turn.
pub const MARK: &str = "RIMG_RUN";

/// A run. What it is told here is on disk when the call returns; blocking.
pub trait Owner: Send + Sync {
    /// Returns the run's id.
    fn id(&self) -> &str;
    /// Is told before processes are started.
    fn before_process(&self) -> Result<()>;
    /// Is told before files with this run's id in their names are made in a folder.
    fn before_file(&self, folder: &Path) -> Result<()>;
    /// Is told before what is at `target` is renamed to `aside`, to be put back if what comes in its place does not.
    fn before_aside(&self, aside: &Path, target: &Path) -> Result<()>;
}

/// One process is one run; tests have several, and then the first of them that lives counts.
static OWNER: RwLock<Option<Weak<dyn Owner>>> = RwLock::new(None);

/// Makes `owner` the one that this process's things belong to, for as long as it lives.
pub fn set<T: Owner + 'static>(owner: &Arc<T>) {
    let mut current = OWNER.write().unwrap_or_else(PoisonError::into_inner);
    if current.as_ref().and_then(Weak::upgrade).is_none() {
        let weak: Weak<T> = Arc::downgrade(owner);
        *current = Some(weak);
    }
}

/// Returns the run that this process works for; none in commands that make nothing, and in tests.
pub fn current() -> Option<Arc<dyn Owner>> {
    OWNER.read().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(Weak::upgrade)
}
