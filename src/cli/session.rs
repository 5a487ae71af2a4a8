//! What run, check and inspect have in common: the interface, the log, the runtime, the signals, the script.

use std::time::Duration;

use tokio::runtime::Runtime;

use super::args::{OutputArgs, ScriptArgs};
use super::output::{self, Show};
use super::{logging, signals};
use crate::engine::journal::Journal;
use crate::engine::{Mode, Scope};
use crate::error::{Error, Kind, Result};
use crate::host::dirs;
use crate::script::{self, Inspection, Outcome, RunOptions};

/// How long work on other threads may take to notice that the run is over.
pub(super) const LAST_WORK: Duration = Duration::from_secs(2);

/// Returns the options that `script` stands for, in a mode.
pub fn options(script: ScriptArgs, mode: Mode, debug: bool) -> RunOptions {
    RunOptions {
        vars: script.vars,
        var_files: script.var_files,
        only: script.only.into_iter().filter(|glob| !glob.is_empty()).collect(),
        except: script.except.into_iter().filter(|glob| !glob.is_empty()).collect(),
        debug,
        mode,
        ..RunOptions::new(std::path::absolute(&script.script).unwrap_or(script.script))
    }
}

/// Returns the threads on which a command does its work.
pub(super) fn runtime() -> Result<Runtime> {
    let made = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    made.map_err(|e| Error::new(Kind::Host, "cannot start the threads of a run").caused_by(e))
}

/// Runs a script to its end, and shows what happens.
pub fn run(mut options: RunOptions, output: &OutputArgs, show: Show) -> Result<(Outcome, Inspection)> {
    let (ui, thread) = output::start(output, show)?;
    logging::start(&ui, output.log_file.as_deref())?;
    let runtime = runtime()?;
    let scope = Scope::new();
    let journal = Journal::of_this_process(&options.script.display().to_string(), &dirs::cache()?, &dirs::state()?);
    options.journal = Some(journal.clone());
    let result = {
        let _entered = runtime.enter();
        let signals = signals::listen(scope.clone(), ui.clone())?;
        let result = runtime.block_on(script::run(options, ui, scope));
        signals.abort();
        result
    };
    if result.0 == Outcome::Aborted {
        thread.join();
        super::signals::end_now(result.0.into());
    }
    runtime.shutdown_timeout(LAST_WORK);
    journal.close();
    thread.join();
    Ok(result)
}
