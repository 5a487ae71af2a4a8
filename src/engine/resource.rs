//! The registry of everything that would outlive a crash: entered before it is made, destroyed in reverse order.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::FutureExt;

use crate::error::{Error, Kind, Result};

type Destroy = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = Result<()>> + Send>> + Send>;

/// How long one resource may take to go.
const DESTROY_LIMIT: Duration = Duration::from_secs(60);

/// Names one entry of a [`Resources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceId(u64);

struct Entry {
    id: ResourceId,
    kind: &'static str,
    name: String,
    destroy: Destroy,
}

#[derive(Default)]
struct Inner {
    next: u64,
    entries: Vec<Entry>,
}

/// The resources of one build (or of the run itself), last in, first out. Clones share the list.
#[derive(Clone, Default)]
pub struct Resources {
    inner: Arc<Mutex<Inner>>,
}

impl Resources {
    /// Makes an empty list.
    pub fn new() -> Resources {
        Resources::default()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        match self.inner.lock() {
            Ok(inner) => inner,
            Err(poisoned) => poisoned.into_inner(),
        }
    }

    /// Enters a resource that is about to be made. `kind` is a word like `process`, `folder`, `file`, `machine`; `name`
    /// is what a person would look for. `destroy` must be idempotent and succeed when the thing was never made.
    pub fn enter<F, Fut>(&self, kind: &'static str, name: impl Into<String>, destroy: F) -> ResourceId
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        let mut inner = self.lock();
        inner.next += 1;
        let id = ResourceId(inner.next);
        let destroy: Destroy = Box::new(move || Box::pin(destroy()));
        inner.entries.push(Entry { id, kind, name: name.into(), destroy });
        id
    }

    /// Enters a file or folder, and removes it (with all it holds) when the time comes.
    pub fn enter_path(&self, kind: &'static str, path: impl Into<std::path::PathBuf>) -> ResourceId {
        let path = path.into();
        self.enter(kind, path.display().to_string(), move || async move {
            let result = tokio::task::spawn_blocking(move || crate::host::atomic::remove(&path)).await;
            result.map_err(|e| Error::new(Kind::Internal, "removing a path was interrupted").caused_by(e))
        })
    }

    /// Strikes out a resource that is gone, or that has become an output of the build.
    pub fn forget(&self, id: ResourceId) {
        self.lock().entries.retain(|entry| entry.id != id);
    }

    /// Destroys one resource now and strikes it out; a resource that is gone is fine. When this is cancelled, the
    /// destruction goes on, and [`Resources::release_all`] waits for its end.
    pub async fn release(&self, id: ResourceId) -> Result<()> {
        let begun = {
            let mut inner = self.lock();
            let Some(entry) = inner.entries.iter_mut().find(|entry| entry.id == id) else { return Ok(()) };
            let destroy = std::mem::replace(&mut entry.destroy, Box::new(|| Box::pin(std::future::ready(Ok(())))));
            let ended = tokio::spawn(async move { destroy().await }).map(|ended| {
                ended.unwrap_or_else(|e| Err(Error::new(Kind::Internal, "its removal was broken off").caused_by(e)))
            });
            let ended = ended.shared();
            let again = ended.clone();
            entry.destroy = Box::new(move || Box::pin(again));
            Entry { id, kind: entry.kind, name: entry.name.clone(), destroy: Box::new(move || Box::pin(ended)) }
        };
        let result = Self::destroy(begun).await;
        self.forget(id);
        result
    }

    /// Destroys everything, last entered first, and returns what could not be.
    pub async fn release_all(&self) -> Vec<Error> {
        let mut failures = Vec::new();
        loop {
            let entry = self.lock().entries.pop();
            let Some(entry) = entry else { return failures };
            if let Err(error) = Self::destroy(entry).await {
                failures.push(error);
            }
        }
    }

    /// Returns kind and name of what is entered now, oldest first.
    pub fn list(&self) -> Vec<(&'static str, String)> {
        self.lock().entries.iter().map(|entry| (entry.kind, entry.name.clone())).collect()
    }

    async fn destroy(entry: Entry) -> Result<()> {
        let what = format!("{} {}", entry.kind, entry.name);
        tracing::debug!(resource = %what, "destroying");
        match tokio::time::timeout(DESTROY_LIMIT, (entry.destroy)()).await {
            Ok(result) => result.map_err(|e| e.within(format_args!("cannot remove {what}"))),
            Err(_) => Err(Error::new(Kind::Timeout, format!("removing {what} took longer than {DESTROY_LIMIT:?}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_removal_that_is_cancelled_goes_on_and_is_waited_for() {
        let resources = Resources::new();
        let gone = Arc::new(Mutex::new(false));
        let done = gone.clone();
        let id = resources.enter("machine", "slow", move || async move {
            tokio::time::sleep(Duration::from_millis(80)).await;
            *done.lock().unwrap() = true;
            Ok(())
        });
        let cut_short = tokio::time::timeout(Duration::from_millis(10), resources.release(id)).await;
        assert!(cut_short.is_err() && !*gone.lock().unwrap());
        assert_eq!(resources.list(), [("machine", "slow".to_owned())]);
        assert!(resources.release_all().await.is_empty());
        assert!(*gone.lock().unwrap());
        assert!(resources.release(id).await.is_ok());
    }

    #[tokio::test]
    async fn destroys_in_reverse_order_and_only_once() {
        let resources = Resources::new();
        let order = Arc::new(Mutex::new(Vec::new()));
        let ids: Vec<_> = (0..4)
            .map(|n| {
                let order = order.clone();
                resources.enter("thing", n.to_string(), move || async move {
                    order.lock().unwrap().push(n);
                    Ok(())
                })
            })
            .collect();
        resources.forget(ids[1]);
        resources.release(ids[2]).await.unwrap();
        resources.release(ids[2]).await.unwrap();
        assert!(resources.release_all().await.is_empty());
        assert_eq!(*order.lock().unwrap(), vec![2, 3, 0]);
    }
}
