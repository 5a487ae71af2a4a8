//! A run's own journal: made when there is something to write, removed when nothing is left.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::entry::{Begin, Line, Trace, VERSION};
use super::unborn;
use super::writer::Writer;
use crate::error::{Result, io_error};
use crate::host::census::{self, Identity};
use crate::host::lock::Lock;
use crate::host::{atomic, dirs, owner};

/// The folder of all runs within the state folder.
pub const RUNS: &str = "runs";
/// The files of a run.
pub const JOURNAL: &str = "journal";
pub const LOCK: &str = "lock";

/// What becomes of a thing that is not gone when its run has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stays {
    /// It is in the work folder, and goes with that.
    No,
    /// Only `rimg gc` can still remove it, or it is kept.
    Yes,
}

/// How often the work folder is removed again while something still writes into it, and the time in between.
const REMOVALS: (u32, Duration) = (20, Duration::from_millis(50));

struct Open {
    folder: PathBuf,
    writer: Arc<Writer>,
    _lock: Lock,
}

/// The journal of a run of this process. It is made with the first thing that is written down, and so before anything that
/// would outlive the process: the work folder, a child, an unfinished file.
pub struct Journal {
    runs: PathBuf,
    begin: Begin,
    open: OnceLock<Open>,
    opening: Mutex<()>,
    next: AtomicU64,
    /// What is entered and not gone.
    left: Mutex<BTreeMap<u64, Stays>>,
    /// Where this run's unfinished files may be.
    folders: Mutex<BTreeSet<PathBuf>>,
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("run", &self.begin.run).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Journal {
    /// Returns the journal of a new run, to which the processes and unfinished files of this process belong from now on.
    pub fn of_this_process(script: &str, cache_dir: &Path, state_dir: &Path) -> Arc<Journal> {
        let journal = Journal::new(script, cache_dir, state_dir);
        owner::set(&journal);
        journal
    }

    /// Returns the journal of a new run. Nothing is written yet.
    ///
    /// Work folders are in the cache, beside the layers and downloads that they are made of and link to: on the disk that has
    /// the room, and not in the state folder, which may be small or on a network.
    pub fn new(script: &str, cache_dir: &Path, state_dir: &Path) -> Arc<Journal> {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let run = id.get(..atomic::NOBODY.len()).unwrap_or(&id).to_owned();
        Arc::new(Journal {
            runs: state_dir.join(RUNS),
            begin: Begin {
                version: VERSION,
                process: Identity::of(std::process::id()),
                boot: census::boot_id(),
                script: script.to_owned(),
                work: cache_dir.join("run").join(&run),
                stores: vec![cache_dir.to_owned(), state_dir.to_owned()],
                at: now(),
                run,
            },
            open: OnceLock::new(),
            opening: Mutex::default(),
            next: AtomicU64::new(0),
            left: Mutex::default(),
            folders: Mutex::default(),
        })
    }

    /// Returns the run's id.
    pub fn run(&self) -> &str {
        &self.begin.run
    }

    /// Returns the ids of earlier runs that left something which `rimg gc` removes.
    pub fn left_over(&self) -> Vec<String> {
        let state_dir = self.runs.parent().unwrap_or(&self.runs);
        super::runs::left_over(state_dir)
    }

    /// Returns the run's work folder, which may not be there yet.
    pub fn work_dir(&self) -> &Path {
        &self.begin.work
    }

    /// Makes the journal, if it is not there. Blocking.
    fn open(&self) -> Result<&Open> {
        if let Some(open) = self.open.get() {
            return Ok(open);
        }
        let _opening = lock(&self.opening);
        if let Some(open) = self.open.get() {
            return Ok(open);
        }
        let made = self.make().map_err(|e| e.within("cannot begin a journal of what this run makes"))?;
        Ok(self.open.get_or_init(|| made))
    }

    fn make(&self) -> Result<Open> {
        dirs::private(&self.runs)?;
        let unborn = self.runs.join(unborn::name(&self.begin.run, self.begin.process));
        dirs::private(&unborn)?;
        let at = unborn.join(LOCK);
        File::create_new(&at).map_err(|e| io_error("create", &at, e))?;
        let held = Lock::exclusive(&at).ok_or_else(|| io_error("lock", &at, std::io::ErrorKind::WouldBlock.into()))?;
        let at = unborn.join(JOURNAL);
        let mut file = File::options()
            .create_new(true)
            .append(true)
            .mode(0o600)
            .open(&at)
            .map_err(|e| io_error("create", &at, e))?;
        let write = file.write_all(&Line::Begin(self.begin.clone()).to_bytes()).and_then(|()| file.sync_all());
        write.map_err(|e| io_error("write", &at, e))?;
        let folder = self.runs.join(&self.begin.run);
        std::fs::rename(&unborn, &folder).map_err(|e| io_error("rename into place", &folder, e))?;
        // A file system that cannot sync folders still has the rename.
        let _ = File::open(&self.runs).and_then(|runs| runs.sync_all());
        Ok(Open { writer: Arc::new(Writer::new(folder.join(JOURNAL), file)), folder, _lock: held })
    }

    async fn opened(self: &Arc<Self>) -> Result<Arc<Writer>> {
        if let Some(open) = self.open.get() {
            return Ok(open.writer.clone());
        }
        let journal = self.clone();
        crate::host::blocking::run(move |_| journal.open().map(|open| open.writer.clone())).await
    }

    /// Returns the number of a resource that is about to be entered.
    pub(in crate::engine) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Writes a resource down; what finds it is on disk when this returns.
    pub(in crate::engine) async fn enter(
        self: &Arc<Self>,
        id: u64,
        (kind, name, build): (&str, &str, &str),
        trace: Trace,
    ) -> Result<()> {
        if trace == Trace::Memory {
            return Ok(());
        }
        let writer = self.opened().await?;
        // Marked processes and the run's work folder are found by the journal's first line.
        let is_found = match &trace {
            Trace::Process | Trace::Memory => true,
            Trace::Path(path) => path.starts_with(&self.begin.work),
            Trace::Elsewhere { .. } => false,
        };
        let in_work = is_found && matches!(trace, Trace::Path(_));
        lock(&self.left).insert(id, if in_work { Stays::No } else { Stays::Yes });
        let line = Line::Enter { id, kind: kind.into(), name: name.into(), build: build.into(), at: now(), trace };
        match is_found {
            true => writer.append(&line),
            false => writer.append_shared(&line).await?,
        }
        Ok(())
    }

    /// Writes a path down that is found by other lines: it is in the work folder, or bears the run's id in its name.
    pub(in crate::engine) fn enter_found(
        &self,
        id: u64,
        (kind, name, build): (&str, &str, &str),
        path: PathBuf,
    ) -> Result<()> {
        let open = self.open()?;
        // What is not in the work folder bears the run's id in its name, and has gone before the folder goes.
        lock(&self.left).insert(id, Stays::No);
        let trace = Trace::Path(path);
        open.writer.append(&Line::Enter {
            id,
            kind: kind.into(),
            name: name.into(),
            build: build.into(),
            at: now(),
            trace,
        });
        Ok(())
    }

    /// Writes something more about a resource.
    pub(in crate::engine) fn note(&self, line: &Line) {
        if let Line::Stays { id, .. } = line {
            lock(&self.left).insert(*id, Stays::Yes);
        }
        if let Some(open) = self.open.get() {
            open.writer.append(line);
        }
    }

    /// Strikes a resource out.
    pub(in crate::engine) fn gone(&self, id: u64) {
        if lock(&self.left).remove(&id).is_some()
            && let Some(open) = self.open.get()
        {
            open.writer.append(&Line::Gone { id });
        }
    }

    /// Writes down that a resource is left on purpose; on disk when this returns.
    pub(in crate::engine) async fn kept(self: &Arc<Self>, id: u64, why: String) -> Result<()> {
        lock(&self.left).insert(id, Stays::Yes);
        self.opened().await?.append_shared(&Line::Kept { id, why }).await
    }

    /// Ends it when everything of the run has ended, the work on other threads included: what is left in the work folder and
    /// of unfinished files goes now, and the run's folder, too, when nothing else is left. Blocking.
    pub fn close(&self) {
        let Some(open) = self.open.get() else { return };
        for folder in lock(&self.folders).iter() {
            super::unfinished::of(folder, &self.begin.run).iter().for_each(|path| atomic::remove(path));
        }
        if lock(&self.left).values().any(|stays| *stays == Stays::Yes) || !self.remove_work() {
            return;
        }
        // The journal first: without it there is no run.
        atomic::remove(&open.folder.join(JOURNAL));
        atomic::remove(&open.folder.join(LOCK));
        let _ = std::fs::remove_dir(&open.folder);
    }
}

impl Journal {
    /// Removes the work folder; tells whether it is gone. What is still written to on another thread may come back once.
    fn remove_work(&self) -> bool {
        let (attempts, pause) = REMOVALS;
        for attempt in 0..attempts {
            if attempt > 0 {
                std::thread::park_timeout(pause);
            }
            atomic::remove(&self.begin.work);
            if std::fs::symlink_metadata(&self.begin.work).is_err() {
                return true;
            }
        }
        false
    }
}

impl owner::Owner for Journal {
    fn id(&self) -> &str {
        &self.begin.run
    }

    fn before_process(&self) -> Result<()> {
        self.open().map(drop)
    }

    fn before_file(&self, folder: &Path) -> Result<()> {
        let open = self.open()?;
        // The first line names them.
        if self.begin.stores.iter().any(|store| folder.starts_with(store)) || lock(&self.folders).contains(folder) {
            return Ok(());
        }
        open.writer.append_synced(&Line::Folder(folder.to_owned()))?;
        lock(&self.folders).insert(folder.to_owned());
        Ok(())
    }

    fn before_aside(&self, aside: &Path, target: &Path) -> Result<()> {
        self.open()?.writer.append_synced(&Line::Aside { aside: aside.to_owned(), target: target.to_owned() })
    }
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}
