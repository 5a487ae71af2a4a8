//! What everything that happens in a build is given: where it belongs, who listens, what ends it.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::machines::Machines;
use super::needs::Needs;
use super::on_error::OnError;
use super::replay::lanes::Lane;
use super::replay::run::Replay;
use super::replay::seal::{self, Purpose};
use super::replay::secret;
use super::resource::Resources;
use super::scope::Scope;
use crate::error::{Result, io_error};
use crate::ui::Ui;

/// Whether the world may be touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `rimg run`.
    Live,
    /// `rimg check`: machines answer "done", nothing on the host or the network changes.
    Check,
    /// `rimg inspect`: the main chunk runs, builds are only counted.
    Inspect,
}

/// What the command line says about a run.
#[derive(Debug, Clone)]
pub struct Settings {
    pub mode: Mode,
    /// Whether existing outputs may be replaced.
    pub force: bool,
    /// What is done when an operation fails.
    pub on_error: OnError,
    /// `--debug`: breakpoints stop, more is said.
    pub debug: bool,
    /// The folder relative paths of the script start from: the script's own.
    pub script_dir: PathBuf,
    /// Where downloads and other caches go.
    pub cache_dir: PathBuf,
    /// Where logs of runs and what this host was found to do go.
    pub state_dir: PathBuf,
    /// Private folder of this run, mode 0700, removed at its end.
    pub work_dir: PathBuf,
    /// Cancelled when the run is to end at once, with everything left as it is.
    pub abort: CancellationToken,
    /// Where it is noted what the script must be allowed elsewhere.
    pub needs: Needs,
}

impl Settings {
    /// Tells whether the world may be touched.
    pub fn is_live(&self) -> bool {
        self.mode == Mode::Live
    }

    /// Makes a path of the script's absolute: relative ones start at the script's folder.
    pub fn resolve(&self, path: impl AsRef<std::path::Path>) -> PathBuf {
        self.script_dir.join(path)
    }
}

/// The surroundings of one build. Clones are the same build.
#[derive(Clone)]
pub struct BuildCx {
    /// The build's name; the main chunk's, before any build, is the script's file name.
    pub build: Arc<str>,
    pub scope: Scope,
    pub resources: Resources,
    pub machines: Machines,
    pub ui: Ui,
    pub settings: Arc<Settings>,
    /// The step (`rimg.step`, `vm:apply`) that is going on, for the report.
    pub step: Option<u64>,
    /// The names of the steps that are going on, the outermost first.
    pub steps: Arc<Vec<String>>,
    /// The branch of the build (`rimg.parallel`) that the code runs in.
    pub lane: Lane,
    /// What was recorded before; none where everything is done anew.
    pub replay: Option<Arc<Replay>>,
}

tokio::task_local! {
    static CURRENT: BuildCx;
}

impl BuildCx {
    /// Returns the surroundings of the code that runs now: of the build, the step and the timeout it is in.
    pub fn current() -> Option<BuildCx> {
        CURRENT.try_with(BuildCx::clone).ok()
    }

    /// Runs `work` with these surroundings as the current ones.
    pub async fn enter<F: Future>(self, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }

    /// Returns the same surroundings with a scope inside this one.
    pub fn nested(&self) -> BuildCx {
        BuildCx { scope: self.scope.child(), ..self.clone() }
    }

    /// Ends the run at once; what it has made stays, for `rimg gc`.
    pub fn abort(&self) {
        self.settings.abort.cancel();
    }

    /// Makes a private folder in the run's work folder and enters it as a resource of this build.
    pub fn private_dir(&self, name: &str) -> Result<PathBuf> {
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let path = self.settings.work_dir.join(format!("{name}-{}", unique.get(..8).unwrap_or(&unique)));
        self.resources.enter_path("folder", &path)?;
        crate::host::dirs::private(&path).map_err(|e| e.within("cannot make a folder for this build"))?;
        Ok(path)
    }

    /// Returns what stands for content with a secret in it: without the key of this user and host, not even a guess at
    /// the secret can be tried.
    pub fn keyed_digest(&self, content: &[u8]) -> String {
        match secret::local_key(&self.settings.state_dir) {
            Ok(key) => format!("keyed:{}", blake3::keyed_hash(&key, content).to_hex()),
            Err(error) => {
                tracing::warn!(%error, "what depends on a secret is not replayed");
                format!("keyed:{}", uuid::Uuid::new_v4().simple())
            }
        }
    }

    /// Seals how a machine is logged in to, so that only this user on this host can read it.
    pub fn seal(&self, text: &str) -> Result<String> {
        seal::seal(&secret::local_key(&self.settings.state_dir)?, Purpose::Access, text.as_bytes())
    }

    /// Returns what was sealed; none where it was with another key.
    pub fn unseal(&self, sealed: &str) -> Result<Option<String>> {
        unseal(sealed, &self.settings.state_dir)
    }

    /// Reads a file of the script's on the blocking pool.
    pub async fn read_file(&self, path: impl AsRef<std::path::Path>) -> Result<Vec<u8>> {
        let path = self.settings.resolve(path);
        tokio::fs::read(&path).await.map_err(|e| io_error("read", &path, e))
    }
}

/// Returns what [`BuildCx::seal`] sealed for the user of a state folder; none where it was with another key.
pub fn unseal(sealed: &str, state_dir: &std::path::Path) -> Result<Option<String>> {
    let opened = seal::open(&secret::local_key(state_dir)?, Purpose::Access, sealed);
    Ok(opened.and_then(|text| String::from_utf8(text).ok()))
}
