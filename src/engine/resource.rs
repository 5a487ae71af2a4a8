//! The registry of everything that would outlive a crash: entered before it is made, destroyed in reverse order.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

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

    /// Destroys one resource now and strikes it out; a resource that is gone is fine.
    pub async fn release(&self, id: ResourceId) -> Result<()> {
        let entry = {
            let mut inner = self.lock();
            let position = inner.entries.iter().position(|entry| entry.id == id);
            position.map(|index| inner.entries.remove(index))
        };
        match entry {
            Some(entry) => Self::destroy(entry).await,
            None => Ok(()),
        }
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
