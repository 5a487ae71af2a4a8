//! The registry of everything that would outlive a crash: entered before it is made, destroyed in reverse order.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use serde_json::Value;

use super::journal::{Journal, Line, Trace};
use crate::error::{Error, Kind, Result};
use crate::host::census::Identity;
use crate::ui::Ui;

type Destroy = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = Result<()>> + Send>> + Send>;

/// How long one resource may take to go, unless it is known to take longer.
const DESTROY_LIMIT: Duration = Duration::from_secs(60);

/// Names one entry of a [`Resources`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceId(u64);

/// What is about to be made. `kind` is a word like `process`, `folder`, `file`, `machine`; `name` is what a person would look
/// for; `trace` is what finds it after a crash.
#[derive(Debug, Clone)]
pub struct Resource {
    pub kind: &'static str,
    pub name: String,
    pub trace: Trace,
    /// How long it may take to go.
    pub limit: Duration,
}

impl Resource {
    /// Returns what runs as processes of this host.
    pub fn process(kind: &'static str, name: impl Into<String>) -> Resource {
        Resource { kind, name: name.into(), trace: Trace::Process, limit: DESTROY_LIMIT }
    }

    /// Returns a file or folder that is not in the run's work folder.
    pub fn path(kind: &'static str, path: impl Into<PathBuf>) -> Resource {
        let path = path.into();
        Resource { kind, name: path.display().to_string(), trace: Trace::Path(path), limit: DESTROY_LIMIT }
    }

    /// Returns what is not on this host; the collector of that name finds it by `what`.
    pub fn elsewhere(kind: &'static str, name: impl Into<String>, collector: &str, what: Value) -> Resource {
        let trace = Trace::Elsewhere { collector: collector.to_owned(), what };
        Resource { kind, name: name.into(), trace, limit: DESTROY_LIMIT }
    }

    /// Says how long it may take to go.
    #[must_use]
    pub fn taking(self, limit: Duration) -> Resource {
        Resource { limit, ..self }
    }
}

struct Entry {
    id: ResourceId,
    kind: &'static str,
    name: String,
    limit: Duration,
    destroy: Destroy,
}

#[derive(Default)]
struct Inner {
    next: u64,
    entries: Vec<Entry>,
}

/// Where a build's resources are written down.
struct Book {
    journal: Arc<Journal>,
    build: String,
    ui: Ui,
}

/// What became of a resource that was to go.
#[derive(Debug, Clone)]
pub struct Removed {
    pub kind: &'static str,
    pub name: String,
    pub ok: bool,
    pub took: Duration,
}

/// The resources of one build (or of the run itself), last in, first out. Clones share the list.
#[derive(Clone, Default)]
pub struct Resources {
    inner: Arc<Mutex<Inner>>,
    book: Option<Arc<Book>>,
}

impl Resources {
    /// Makes an empty list that is not written down.
    pub fn new() -> Resources {
        Resources::default()
    }

    /// Makes an empty list of a build, written down in the run's journal where there is one. Secrets that `ui` knows are not.
    pub fn of(build: &str, journal: Option<&Arc<Journal>>, ui: &Ui) -> Resources {
        let book = |journal: &Arc<Journal>| {
            Arc::new(Book { journal: journal.clone(), build: build.to_owned(), ui: ui.clone() })
        };
        Resources { inner: Arc::default(), book: journal.map(book) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        match self.inner.lock() {
            Ok(inner) => inner,
            Err(poisoned) => poisoned.into_inner(),
        }
    }

    fn add(&self, kind: &'static str, name: &str, limit: Duration, destroy: Destroy) -> ResourceId {
        let mut inner = self.lock();
        inner.next += 1;
        let id = ResourceId(self.book.as_ref().map_or(inner.next, |book| book.journal.number()));
        inner.entries.push(Entry { id, kind, name: name.to_owned(), limit, destroy });
        id
    }

    /// Enters a resource that is about to be made; what finds it after a crash is on disk when this returns. `destroy` must be
    /// idempotent and succeed when the thing was never made.
    pub async fn enter<F, Fut>(&self, resource: Resource, destroy: F) -> Result<ResourceId>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        let Resource { kind, name, trace, limit } = resource;
        let id = self.add(kind, &name, limit, Box::new(move || Box::pin(destroy())));
        if let Some(book) = &self.book {
            let name = book.ui.secrets().mask(&name);
            let written = book.journal.enter(id.0, (kind, &name, &book.build), trace).await;
            if let Err(error) = written {
                self.forget(id);
                return Err(error);
            }
        }
        Ok(id)
    }

    /// Enters what ends with this process and leaves nothing: a server, a task.
    pub fn enter_memory<F, Fut>(&self, kind: &'static str, name: impl Into<String>, destroy: F) -> ResourceId
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.add(kind, &name.into(), DESTROY_LIMIT, Box::new(move || Box::pin(destroy())))
    }

    /// Enters a file or folder in the run's work folder, or one that is yet unfinished
    /// ([`Pending`](crate::host::atomic::Pending)), and removes it (with all it holds) when the time comes. What finds such a
    /// one is written already; blocks only where it is the first that the run makes.
    pub fn enter_path(&self, kind: &'static str, path: impl Into<PathBuf>) -> Result<ResourceId> {
        let path = path.into();
        let name = path.display().to_string();
        let removed = path.clone();
        let destroy = move || async move {
            let result = tokio::task::spawn_blocking(move || crate::host::atomic::remove(&removed)).await;
            result.map_err(|e| Error::new(Kind::Internal, "removing a path was interrupted").caused_by(e))
        };
        let id = self.add(kind, &name, DESTROY_LIMIT, Box::new(move || Box::pin(destroy())));
        if let Some(book) = &self.book
            && let Err(error) = book.journal.enter_found(id.0, (kind, &name, &book.build), path)
        {
            self.forget(id);
            return Err(error);
        }
        Ok(id)
    }

    /// Notes which process a resource now is: found and ended by that as well, even if it has lost the run's mark.
    pub fn has_process(&self, id: ResourceId, pid: Option<u32>) {
        if let (Some(book), Some(process)) = (&self.book, pid.and_then(Identity::of)) {
            book.journal.note(&Line::Process { id: id.0, process });
        }
    }

    /// Notes how a person gets into a machine, for `rimg ps`.
    pub fn has_way(&self, id: ResourceId, way: Value) {
        if let Some(book) = &self.book {
            book.journal.note(&Line::Way { id: id.0, way });
        }
    }

    /// Strikes out a path that was entered, and that goes with another resource from now on.
    pub fn forget_path(&self, path: &std::path::Path) {
        let name = path.display().to_string();
        let entry = self.lock().entries.iter().find(|entry| entry.kind == "folder" && entry.name == name).map(|e| e.id);
        if let Some(id) = entry {
            self.forget(id);
        }
    }

    /// Leaves a resource as it is when the build ends: it is not destroyed here any more, and `rimg gc` removes it only when
    /// it is named. What stands for it in this process is given up with it.
    pub async fn keep(&self, id: ResourceId, why: &str) -> Result<()> {
        if let Some(book) = &self.book {
            book.journal.kept(id.0, book.ui.secrets().mask(why)).await?;
        }
        self.lock().entries.retain(|entry| entry.id != id);
        Ok(())
    }

    /// Strikes out a resource that is gone, or that has become an output of the build.
    pub fn forget(&self, id: ResourceId) {
        self.lock().entries.retain(|entry| entry.id != id);
        if let Some(book) = &self.book {
            book.journal.gone(id.0);
        }
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
            let destroy: Destroy = Box::new(move || Box::pin(ended));
            Entry { id, kind: entry.kind, name: entry.name.clone(), limit: entry.limit, destroy }
        };
        let result = Self::destroy(begun).await;
        self.ended(id, &result);
        result
    }

    /// Destroys everything, last entered first, and returns what could not be.
    pub async fn release_all(&self) -> Vec<Error> {
        self.release_all_telling(|_| {}).await
    }

    /// The same, and tells of each when it has gone or could not be removed.
    pub async fn release_all_telling(&self, tell: impl Fn(Removed)) -> Vec<Error> {
        let mut failures = Vec::new();
        loop {
            let entry = self.lock().entries.pop();
            let Some(entry) = entry else { return failures };
            let (id, kind, name, begun) = (entry.id, entry.kind, entry.name.clone(), Instant::now());
            let result = Self::destroy(entry).await;
            self.ended(id, &result);
            tell(Removed { kind, name, ok: result.is_ok(), took: begun.elapsed() });
            failures.extend(result.err());
        }
    }

    /// What could not be removed stays in the journal, for `rimg gc`.
    fn ended(&self, id: ResourceId, result: &Result<()>) {
        match (result, &self.book) {
            (Err(error), Some(book)) => {
                self.lock().entries.retain(|entry| entry.id != id);
                book.journal.note(&Line::Stays { id: id.0, why: book.ui.secrets().mask(&error.to_string()) });
            }
            _ => self.forget(id),
        }
    }

    /// Returns kind and name of what is entered now, oldest first.
    pub fn list(&self) -> Vec<(&'static str, String)> {
        self.lock().entries.iter().map(|entry| (entry.kind, entry.name.clone())).collect()
    }

    async fn destroy(entry: Entry) -> Result<()> {
        let what = format!("{} {}", entry.kind, entry.name);
        tracing::debug!(resource = %what, "destroying");
        match tokio::time::timeout(entry.limit, (entry.destroy)()).await {
            Ok(result) => result.map_err(|e| e.within(format_args!("cannot remove {what}"))),
            Err(_) => Err(Error::new(Kind::Timeout, format!("removing {what} took longer than {:?}", entry.limit))),
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
        let id = resources.enter_memory("machine", "slow", move || async move {
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
                resources.enter_memory("thing", n.to_string(), move || async move {
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
