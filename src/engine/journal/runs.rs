//! The runs that a state folder knows of: which of them live, and what the others left.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::entry::{Line, VERSION};
use super::run::{JOURNAL, LOCK, RUNS};
use super::story::Story;
use super::unborn;
use crate::error::{Result, io_error};
use crate::host::census;
use crate::host::lock::Lock;

/// Whoever looks whether a lock is held has it for an instant, and a process that is just being started by another thread does,
/// too. So a run is not believed to live at the first look; one whose process is there, at the tenth.
const LOOKS: u32 = 60;
const LOOKS_AT_PROCESS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(5);

/// A run with a journal.
#[derive(Debug)]
pub struct Run {
    pub id: String,
    pub folder: PathBuf,
}

/// Returns the runs of a state folder, in the order of their ids. What was never begun is removed on the way.
pub fn all(state_dir: &Path) -> Result<Vec<Run>> {
    let folder = state_dir.join(RUNS);
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(io_error("read folder", &folder, e)),
    };
    let mut runs = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| io_error("read folder", &folder, e))?;
        let id = entry.file_name().to_string_lossy().into_owned();
        let folder = entry.path();
        match unborn::is(&id) {
            true => unborn::remove(&folder),
            // It was about to go, with nothing left that it could name.
            false if !folder.join(JOURNAL).exists() => {
                unborn::remove(&folder);
                let _ = std::fs::remove_dir(&folder);
            }
            false => runs.push(Run { id, folder }),
        }
    }
    runs.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(runs)
}

/// Returns the ids of the dead runs that left something which nobody kept on purpose. Looks at journals alone, so that it costs
/// next to nothing.
pub fn left_over(state_dir: &Path) -> Vec<String> {
    let is_left = |run: &Run| {
        let kept = |story: &Story| !story.things.is_empty() && story.things.values().all(|thing| thing.kept.is_some());
        !run.is_live() && run.story().is_some_and(|story| !kept(&story))
    };
    all(state_dir).unwrap_or_default().into_iter().filter(is_left).map(|run| run.id).collect()
}

impl Run {
    /// Tells whether the run goes on. Cheap, and wrong for an instant when somebody else looks at the same time.
    pub fn is_live(&self) -> bool {
        Lock::is_held(&self.folder.join(LOCK))
    }

    /// Returns what is written down of it; none when the folder is gone, or a later rimg wrote it.
    pub fn story(&self) -> Option<Story> {
        let content = std::fs::read(self.folder.join(JOURNAL)).ok()?;
        let story = Story::of(Line::all(&content));
        story.begin.as_ref().is_none_or(|begin| begin.version <= VERSION).then_some(story)
    }

    /// Takes the place of a run that is dead; none while it lives, or another `rimg gc` is at work on it.
    pub fn take(&self) -> Option<Lock> {
        let path = self.folder.join(LOCK);
        for look in 1..=LOOKS {
            if let Some(lock) = Lock::exclusive(&path) {
                return Some(lock);
            }
            let begin = self.story().and_then(|story| story.begin);
            let process = begin.filter(|begin| begin.boot == census::boot_id()).and_then(|begin| begin.process);
            if !path.exists() || (look >= LOOKS_AT_PROCESS && process.is_some_and(|process| process.is_alive())) {
                return None;
            }
            std::thread::park_timeout(PAUSE);
        }
        None
    }
}
