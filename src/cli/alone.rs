//! Work of a subcommand that runs no script, but downloads and can be interrupted as a run is.

use std::sync::Arc;

use super::args::OutputArgs;
use super::output::{self, Show};
use super::{logging, session, signals};
use crate::engine::journal::Journal;
use crate::engine::{BuildCx, Mode, Resources, Scope, Settings};
use crate::error::{Result, io_error};
use crate::host::dirs;
use crate::ui::Ui;

/// Does `work` with the surroundings that a script has from its run; `name` is what the journal calls it.
pub fn run<T>(name: &str, shown: &OutputArgs, work: impl AsyncFnOnce(&BuildCx) -> Result<T>) -> Result<T> {
    let (ui, thread) = output::start(shown, Show::Beside)?;
    logging::start(&ui, None)?;
    let runtime = session::runtime()?;
    let scope = Scope::new();
    let journal = Journal::of_this_process(name, &dirs::cache()?, &dirs::state()?);
    let cx = surroundings(&ui, &scope, &journal)?;
    let result = {
        let _entered = runtime.enter();
        let signals = signals::listen(scope.clone(), ui)?;
        let result = runtime.block_on(scope.run(work(&cx)));
        signals.abort();
        result
    };
    runtime.shutdown_timeout(session::LAST_WORK);
    journal.close();
    thread.join();
    result
}

fn surroundings(ui: &Ui, scope: &Scope, journal: &Arc<Journal>) -> Result<BuildCx> {
    let here = std::env::current_dir().map_err(|e| io_error("find", ".", e))?;
    let cache_dir = dirs::cache()?;
    let settings = Settings {
        mode: Mode::Live,
        force: false,
        on_error: Default::default(),
        debug: false,
        script_dir: here,
        work_dir: journal.work_dir().to_owned(),
        abort: Default::default(),
        needs: Default::default(),
        cache_dir,
        state_dir: dirs::state()?,
    };
    Ok(BuildCx {
        build: "".into(),
        scope: scope.clone(),
        resources: Resources::of("", Some(journal), ui),
        machines: Default::default(),
        ui: ui.clone(),
        settings: Arc::new(settings),
        step: None,
        steps: Default::default(),
        lane: Default::default(),
        replay: None,
    })
}
