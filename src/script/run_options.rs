//! What the command line asks of the script layer, and what it gets back.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::engine::journal::Journal;
use crate::engine::on_error::OnError;
use crate::engine::replay::run::Choices;
use crate::engine::{Mode, Needs};

/// One run of one script, as the command line describes it.
#[derive(Debug, Clone)]
pub struct RunOptions {
    pub script: PathBuf,
    /// `-v name=value`, in the order given; the last one of a name counts.
    pub vars: Vec<(String, String)>,
    /// `--var-file`: JSON, TOML, YAML or Lua, by extension; later files override earlier ones, `vars` override all.
    pub var_files: Vec<PathBuf>,
    /// Globs of the builds to run; empty means all.
    pub only: Vec<String>,
    /// Globs of the builds to leave out.
    pub except: Vec<String>,
    /// How many builds may run at once; `None` means no limit.
    pub parallel: Option<usize>,
    /// Whether existing outputs may be replaced.
    pub force: bool,
    /// What is done when an operation fails.
    pub on_error: OnError,
    /// Whether a build that fails stops the others.
    pub fail_fast: bool,
    /// How long the run may take in all.
    pub timeout: Option<Duration>,
    /// Cancelled when the run is to end at once, with everything left as it is.
    pub abort: CancellationToken,
    /// What of earlier runs is used; none: nothing, and nothing is written down.
    pub replay: Option<Choices>,
    /// How large the cache may become, in bytes; none: a fifth of its disk, 50 GB at most.
    pub cache_size: Option<u64>,
    pub debug: bool,
    pub mode: Mode,
    /// Where caches and state are kept, in place of this user's folders.
    pub cache_dir: Option<PathBuf>,
    pub state_dir: Option<PathBuf>,
    /// Where what the run makes is written down; none: nowhere, and a crash leaves it.
    pub journal: Option<Arc<Journal>>,
    /// Where it is noted what the script must be allowed elsewhere.
    pub needs: Needs,
}

impl RunOptions {
    /// Returns the options of `rimg run SCRIPT`.
    pub fn new(script: impl Into<PathBuf>) -> RunOptions {
        RunOptions {
            script: script.into(),
            vars: Vec::new(),
            var_files: Vec::new(),
            only: Vec::new(),
            except: Vec::new(),
            parallel: None,
            force: false,
            on_error: Default::default(),
            fail_fast: false,
            timeout: None,
            abort: CancellationToken::new(),
            replay: Some(Choices::default()),
            cache_size: None,
            debug: false,
            mode: Mode::Live,
            cache_dir: None,
            state_dir: None,
            journal: None,
            needs: Needs::default(),
        }
    }
}

/// How a run ended; the command line turns it into an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything that was asked for is done.
    Done,
    /// A build failed, or the script did after it had begun to work.
    Failed,
    /// The script, a variable or an option is wrong, and nothing has run yet.
    ScriptError,
    Cancelled,
    /// It has ended at once and removed nothing.
    Aborted,
}

/// What `rimg inspect` shows.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Inspection {
    pub variables: Vec<VariableInfo>,
    /// The names of the builds, in the order the script starts them.
    pub builds: Vec<String>,
}

/// A variable that a script declares with `rimg.var` or `rimg.secret`.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct VariableInfo {
    pub name: String,
    /// The default as text; a secret's is never shown.
    pub default: Option<String>,
    pub help: Option<String>,
    /// Whether a run fails without a value for it.
    pub required: bool,
    pub secret: bool,
}
