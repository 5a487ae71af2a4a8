//! What replay has to do with a run as a whole: where things are kept, what the command line says, what came of it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::checkpoints::Store;
use super::explain::Volatile;
use super::kept::{Files, Kept};
use super::key::Hider;
use super::record::{Failure, Outcome};
use super::records::{Owner, Records};
use super::seal::Purpose;
use super::{seal, secret};
use crate::engine::BuildCx;
use crate::error::{Error, Kind, Result, io_error};
use crate::host::blocking::Cancel;
use crate::host::dirs;

/// How often it is looked whether another build has booted the same machine.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What the command line says of replay.
#[derive(Debug, Clone, Default)]
pub struct Choices {
    /// `--fresh`: only what this run records itself is replayed.
    pub fresh: bool,
    /// `--from`: nothing is replayed from this step or checkpoint on.
    pub from: Option<String>,
    /// `--explain`: say why an operation is not replayed.
    pub explain: bool,
}

/// What came of replay in a run.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tally {
    pub replayed: u64,
    pub performed: u64,
    /// How long the replayed operations took when they were done, less what it took to go on after them.
    pub saved_seconds: f64,
}

/// The records, checkpoints and files of this user, in the hands of one run.
#[derive(Debug)]
pub struct Replay {
    pub records: Records,
    pub checkpoints: Store,
    pub files: Files,
    /// Where digests of files are remembered.
    pub digests: PathBuf,
    pub choices: Choices,
    folder: PathBuf,
    script: String,
    key: [u8; 32],
    /// When the run began, in milliseconds since 1970.
    began: i64,
    tally: Mutex<Tally>,
    volatile: Mutex<Vec<Volatile>>,
    /// Whether what `--from` names was reached.
    reached: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Replay {
    /// Opens what is kept in these folders for a run of `script`.
    pub fn open(cache_dir: &Path, state_dir: &Path, script: &Path, choices: Choices) -> Result<Replay> {
        let folder = cache_dir.join("replay");
        dirs::private(&folder)?;
        Ok(Replay {
            records: Records::new(folder.join("records")),
            checkpoints: Store::new(folder.join("checkpoints")),
            files: Files::new(folder.join("files")),
            digests: cache_dir.join("digests"),
            key: secret::local_key(state_dir)?,
            script: script.display().to_string(),
            began: jiff::Timestamp::now().as_millisecond(),
            folder,
            choices,
            tally: Mutex::default(),
            volatile: Mutex::default(),
            reached: AtomicBool::new(false),
        })
    }

    /// Returns whose records a build prefers.
    pub fn owner(&self, build: &str) -> Owner {
        Owner { script: self.script.clone(), build: build.to_owned() }
    }

    /// Returns a request without secrets.
    pub fn hide(&self, request: &serde_json::Value, cx: &BuildCx) -> serde_json::Value {
        Hider { secrets: cx.ui.secrets(), key: &self.key }.hide(request)
    }

    /// Returns what to write down of a result; sealed where there is a secret in it.
    pub fn outcome(&self, result: Result<serde_json::Value, &Error>, cx: &BuildCx) -> Result<Outcome> {
        let outcome = match result {
            Ok(value) => Outcome::Done(value),
            Err(error) => Outcome::Failed(Failure::of(error)),
        };
        let text = serde_json::to_string(&outcome).unwrap_or_default();
        // In JSON a secret may be spelt otherwise than it is.
        let plain = serde_json::to_value(&outcome).map(|value| texts(&value)).unwrap_or_default();
        let hidden = [text.as_bytes(), plain.as_bytes()].iter().any(|text| cx.ui.secrets().occurs_in(text));
        match hidden || decoded(&outcome).iter().any(|content| cx.ui.secrets().occurs_in(content)) {
            true => seal::seal(&self.key, Purpose::Record, text.as_bytes()).map(Outcome::Sealed),
            false => Ok(outcome),
        }
    }

    /// Returns what was written down; none where it was sealed by another key.
    pub fn opened(&self, outcome: Outcome) -> Option<Outcome> {
        match outcome {
            Outcome::Sealed(text) => serde_json::from_slice(&seal::open(&self.key, Purpose::Record, &text)?).ok(),
            open => Some(open),
        }
    }

    /// Brings what was made on this host to its places; false where its content is not kept any more, or damaged.
    pub fn bring(&self, outputs: &Kept, force: bool, cancel: &Cancel) -> Result<bool> {
        if !self.files.has(outputs, &self.digests) {
            return Ok(false);
        }
        match self.files.bring(outputs, force, &self.digests, cancel) {
            Err(error) if error.kind() == Kind::Checksum => Ok(false),
            brought => brought.map(|_| true),
        }
    }

    /// Says why something is not replayed, where that is asked for.
    pub fn explain(&self, what: &str, why: &str, cx: &BuildCx) {
        if self.choices.explain {
            cx.ui.info(format!("{what} is not replayed: {why}"));
        }
    }

    /// Tells whether records of that age may be used at all.
    pub fn may_use(&self, at: i64) -> bool {
        !self.choices.fresh || at >= self.began
    }

    /// Waits until nobody else boots the machine with that key, and keeps others from it for as long as the file is open.
    pub async fn boot_alone(&self, key: &str, waits: impl FnOnce()) -> Result<std::fs::File> {
        let folder = self.folder.join("booting");
        dirs::private(&folder)?;
        let path = folder.join(key);
        let file = std::fs::File::options().create(true).append(true).open(&path);
        let file = file.map_err(|e| io_error("open", &path, e))?;
        let mut waits = Some(waits);
        while let Err(error) = rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            if error != rustix::io::Errno::WOULDBLOCK {
                tracing::debug!(%error, "this file system has no locks: machines may be booted twice");
                break;
            }
            if let Some(waits) = waits.take() {
                waits();
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(file)
    }

    /// Counts a replayed operation, which took so long when it was done.
    pub fn count_replayed(&self, seconds: f64) {
        let mut tally = lock(&self.tally);
        tally.replayed += 1;
        tally.saved_seconds += seconds;
    }

    /// Counts an operation that was done.
    pub fn count_performed(&self) {
        lock(&self.tally).performed += 1;
    }

    /// Takes what it took to go on after replayed operations from what they saved.
    pub fn count_resumed(&self, seconds: f64) {
        lock(&self.tally).saved_seconds -= seconds;
    }

    /// Returns what was counted so far.
    pub fn tally(&self) -> Tally {
        *lock(&self.tally)
    }

    /// Tells whether `--from` names that.
    pub fn begins_at(&self, name: &str) -> bool {
        let begins = self.choices.from.as_deref() == Some(name);
        self.reached.fetch_or(begins, Ordering::Relaxed);
        begins
    }

    /// Returns the name that `--from` gave and nothing had.
    pub fn missed(&self) -> Option<&str> {
        self.choices.from.as_deref().filter(|_| !self.reached.load(Ordering::Relaxed))
    }

    /// Remembers that a value which the script was given is another one in each run.
    pub fn note_volatile(&self, value: String, source: &'static str) {
        // A short one would be found in anything.
        if value.len() >= 6 {
            lock(&self.volatile).push(Volatile { value, source });
        }
    }

    /// Returns the values that are others in each run.
    pub fn volatile(&self) -> Vec<Volatile> {
        lock(&self.volatile).clone()
    }
}

/// Returns what the texts of an outcome stand for where they are base64, as content of files is.
fn decoded(outcome: &Outcome) -> Vec<Vec<u8>> {
    use base64::Engine;
    let texts = serde_json::to_value(outcome).map(|value| texts(&value)).unwrap_or_default();
    let decode = |text: &str| base64::engine::general_purpose::STANDARD.decode(text).ok();
    texts.lines().filter_map(decode).collect()
}

/// Returns all texts of a value, one after the other.
fn texts(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(items) => items.iter().map(texts).collect::<Vec<_>>().join("\n"),
        serde_json::Value::Object(map) => map.values().map(texts).collect::<Vec<_>>().join("\n"),
        _ => String::new(),
    }
}
