//! Which builds run, how many at once, and who waits for whom.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use globset::{Glob, GlobSet, GlobSetBuilder};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{Context, Error, Kind, Result};

/// `--only` and `--except`: globs over build names.
#[derive(Debug, Default)]
pub struct Selection {
    only: Option<GlobSet>,
    except: Option<GlobSet>,
}

impl Selection {
    /// Reads the globs; one that is none is an error.
    pub fn new(only: &[String], except: &[String]) -> Result<Selection> {
        Selection::named(("--only", only), ("--except", except))
    }

    /// Reads the globs of two options, which an error names.
    pub fn named(only: (&str, &[String]), except: (&str, &[String])) -> Result<Selection> {
        let set = |option: &str, globs: &[String]| -> Result<Option<GlobSet>> {
            if globs.is_empty() {
                return Ok(None);
            }
            let mut builder = GlobSetBuilder::new();
            for glob in globs {
                builder.add(Glob::new(glob).with_context(Kind::Usage, || format!("{option} {glob}: not a glob"))?);
            }
            builder.build().map(Some).with_context(Kind::Usage, || format!("{option}: too large"))
        };
        Ok(Selection { only: set(only.0, only.1)?, except: set(except.0, except.1)? })
    }

    /// Tells whether a build of that name is to run.
    pub fn includes(&self, build: &str) -> bool {
        self.only.as_ref().is_none_or(|set| set.is_match(build))
            && !self.except.as_ref().is_some_and(|set| set.is_match(build))
    }
}

/// Shares out the places under `--parallel` and knows which build awaits which.
pub struct Schedule {
    places: Option<Arc<Semaphore>>,
    /// Waiter and awaited, one entry for each wait that is going on.
    waits: Mutex<Vec<(String, String)>>,
}

impl Schedule {
    /// Makes a schedule with so many places; none means no limit.
    pub fn new(parallel: Option<usize>) -> Schedule {
        Schedule { places: parallel.map(|n| Arc::new(Semaphore::new(n.max(1)))), waits: Mutex::default() }
    }

    fn waits(&self) -> MutexGuard<'_, Vec<(String, String)>> {
        match self.waits.lock() {
            Ok(waits) => waits,
            Err(poisoned) => poisoned.into_inner(),
        }
    }

    /// Waits for a place to run in.
    pub async fn place(&self) -> Place {
        Place { permit: acquire(self.places.as_ref()).await, waiting: 0 }
    }

    /// Writes down that `waiter` awaits `awaited` for as long as the returned value lives. Awaiting in a circle is an
    /// error that names the circle.
    pub fn wait(self: &Arc<Self>, waiter: &str, awaited: &str) -> Result<Waiting> {
        let mut waits = self.waits();
        if let Some(mut circle) = path(&waits, awaited, waiter) {
            circle.insert(0, waiter.to_owned());
            return Err(Error::new(Kind::Script, format!("these builds wait for each other: {}", circle.join(" -> ")))
                .hint("one of them must not await the other: move what both need into a build of its own"));
        }
        waits.push((waiter.to_owned(), awaited.to_owned()));
        Ok(Waiting { schedule: self.clone(), waiter: waiter.to_owned(), awaited: awaited.to_owned() })
    }
}

/// Returns the way from `from` to `to` along the waits, both included.
fn path(waits: &[(String, String)], from: &str, to: &str) -> Option<Vec<String>> {
    let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut frontier = vec![from];
    while let Some(at) = frontier.pop() {
        if at == to {
            let mut way = vec![to.to_owned()];
            let mut step = to;
            while let Some(previous) = came_from.get(step).filter(|_| step != from) {
                way.insert(0, (*previous).to_owned());
                step = previous;
            }
            return Some(way);
        }
        for (waiter, awaited) in waits {
            if waiter == at && awaited != from && !came_from.contains_key(awaited.as_str()) {
                came_from.insert(awaited, at);
                frontier.push(awaited);
            }
        }
    }
    None
}

async fn acquire(places: Option<&Arc<Semaphore>>) -> Option<OwnedSemaphorePermit> {
    // The semaphore is never closed, so the error cannot happen; without a permit the build simply runs.
    places?.clone().acquire_owned().await.ok()
}

/// A build's place under `--parallel`; given back while the build only waits.
pub struct Place {
    permit: Option<OwnedSemaphorePermit>,
    waiting: usize,
}

impl Place {
    /// Gives the place back when the first of the build's branches begins to wait.
    pub fn begin_wait(&mut self) {
        self.waiting += 1;
        self.permit = None;
    }

    /// Ends one branch's wait; true when the build needs a place again.
    pub fn end_wait(&mut self) -> bool {
        self.waiting = self.waiting.saturating_sub(1);
        self.waiting == 0
    }

    /// Takes over the place that another call waited for.
    pub fn take(&mut self, other: Place) {
        self.permit = other.permit;
    }
}

/// Stands for one wait that is going on.
pub struct Waiting {
    schedule: Arc<Schedule>,
    waiter: String,
    awaited: String,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut waits = self.schedule.waits();
        if let Some(index) = waits.iter().position(|(w, a)| *w == self.waiter && *a == self.awaited) {
            waits.swap_remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_is_named() {
        let schedule = Arc::new(Schedule::new(None));
        let _a = schedule.wait("a", "b").unwrap();
        let b = schedule.wait("b", "c").unwrap();
        let error = schedule.wait("c", "a").err().unwrap();
        assert_eq!(error.message(), "these builds wait for each other: c -> a -> b -> c");
        drop(b);
        assert!(schedule.wait("c", "a").is_ok());
        assert!(schedule.wait("x", "x").is_err());
    }

    #[test]
    fn selects_by_glob() {
        let selection = Selection::new(&["web*".into()], &["web-old".into()]).unwrap();
        assert!(selection.includes("web-1") && !selection.includes("web-old") && !selection.includes("db"));
        assert!(Selection::new(&["a[".into()], &[]).is_err());
    }
}
