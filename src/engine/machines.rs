//! The machines that a build has made.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::machine::Health;
use super::session::Session;

/// The machines of one build, in the order in which they were made. Clones share the list.
#[derive(Clone, Default)]
pub struct Machines {
    all: Arc<Mutex<Vec<Arc<Session>>>>,
    kept: Arc<AtomicBool>,
}

impl fmt::Debug for Machines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.lock().iter().map(|session| session.name().to_owned()).collect();
        f.debug_tuple("Machines").field(&names).finish()
    }
}

impl Machines {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Session>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a machine that is being made.
    pub(super) fn add(&self, session: &Arc<Session>) {
        self.lock().push(session.clone());
    }

    /// Takes out a machine that is gone.
    pub(super) fn remove(&self, session: &Session) {
        self.lock().retain(|other| !std::ptr::eq(Arc::as_ptr(other), session));
    }

    /// Returns those that run, the last made first. One that is asleep does not, nor does one that was shut down or died.
    pub fn up(&self) -> Vec<Arc<Session>> {
        let runs = |session: &&Arc<Session>| {
            let machine = session.machine().filter(|_| !session.has_ended());
            machine.is_some_and(|machine| *machine.health().borrow() == Health::Running)
        };
        self.lock().iter().rev().filter(runs).cloned().collect()
    }

    /// Asks for them to be kept when the build fails.
    pub fn keep(&self) {
        self.kept.store(true, Ordering::Release);
    }

    /// Tells whether that was asked for.
    pub fn are_kept(&self) -> bool {
        self.kept.load(Ordering::Acquire)
    }

    /// Forgets them all: their build is over.
    pub fn clear(&self) {
        let all = std::mem::take(&mut *self.lock());
        drop(all);
    }
}
