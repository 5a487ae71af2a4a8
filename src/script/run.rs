//! One run of one script, from its file to its outcome.

use std::cell::{Cell, OnceCell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mlua::Lua;
use tokio_util::task::AbortOnDropHandle;

use super::aftermath;
use super::builds;
use super::callbacks;
use super::report::{self, Failure};
use super::run_options::{Inspection, Outcome, RunOptions};
use super::state::State;
use super::variables::Variables;
use super::{loader, runtime};
use crate::engine::replay::run::{Replay, Tally};
use crate::engine::replay::space;
use crate::engine::schedule::{Schedule, Selection};
use crate::engine::{BuildCx, Mode, Resources, Scope, Settings};
use crate::error::{Error, Kind, Result, io_error};
use crate::host::dirs;
use crate::ui::{Event, Ui};

/// Runs (or checks, or inspects) a script. What there is to say goes to `ui`; cancelling `scope` unwinds every build.
pub async fn run(options: RunOptions, ui: Ui, scope: Scope) -> (Outcome, Inspection) {
    let started = Instant::now();
    let mode = match options.mode {
        Mode::Live => "run",
        Mode::Check => "check",
        Mode::Inspect => "inspect",
    };
    let resources = Resources::of("", options.journal.as_ref(), &ui);
    ui.emit(Event::RunStarted {
        version: env!("CARGO_PKG_VERSION"),
        script: options.script.display().to_string(),
        mode,
    });
    if let (Mode::Live, Some(journal)) = (options.mode, &options.journal) {
        let runs = journal.left_over();
        if !runs.is_empty() {
            ui.emit(Event::LeftOver { runs });
        }
    }
    let (cache_dir, bound) = (options.cache_dir.clone(), options.cache_size);
    let mut replay = None;
    let limit = options.timeout.map(|limit| expire(limit, &scope, &ui));
    let abort = options.abort.clone();
    let result = match prepare(&options, &ui, &scope, &resources) {
        Ok((state, source)) => {
            replay.clone_from(&state.main.replay);
            let tasks = tokio::task::LocalSet::new();
            tokio::select! {
                biased;
                () = abort.cancelled() => (Outcome::Aborted, Inspection::default()),
                result = tasks.run_until(execute(state, options, source)) => result,
            }
        }
        Err(error) => {
            ui.emit(Event::Failed { error: *report::plain(error).report });
            (Outcome::ScriptError, Inspection::default())
        }
    };
    drop(limit);
    if result.0 == Outcome::Aborted {
        ui.warn("aborted: nothing is cleaned up; `rimg gc` removes what is left");
    } else {
        for error in resources.release_all().await {
            ui.warn(error.to_string());
        }
    }
    let tally = match replay {
        Some(replay) if result.0 != Outcome::Aborted => end_replay(&replay, cache_dir, bound, &ui).await,
        _ => Tally::default(),
    };
    ui.emit(Event::RunFinished {
        ok: result.0 == Outcome::Done,
        seconds: started.elapsed().as_secs_f64(),
        replayed: tally.replayed,
        performed: tally.performed,
        saved_seconds: tally.saved_seconds.max(0.0),
    });
    result
}

/// Cancels a run when its time is up, as long as the returned value lives.
fn expire(limit: Duration, scope: &Scope, ui: &Ui) -> AbortOnDropHandle<()> {
    let (scope, ui) = (scope.clone(), ui.clone());
    AbortOnDropHandle::new(tokio::spawn(async move {
        tokio::time::sleep(limit).await;
        let message = format!("the run took longer than its timeout of {limit:?} (--timeout)");
        ui.warn(format!("{message}: cancelling, cleaning up"));
        scope.cancel(Error::new(Kind::Timeout, message).hint("give it more time, or none: leave --timeout out"));
    }))
}

/// Says what replay has to say at the end, and keeps the cache within its size. Nothing of this run holds on to it any more.
async fn end_replay(replay: &Replay, cache_dir: Option<PathBuf>, bound: Option<u64>, ui: &Ui) -> Tally {
    if let Some(name) = replay.missed() {
        ui.warn(format!("--from {name}: no step and no checkpoint of that name was reached by what was replayed"));
    }
    let collected = match cache_dir.map_or_else(dirs::cache, Ok) {
        Ok(cache) => space::collect(&cache, bound).await.map(drop),
        Err(error) => Err(error),
    };
    if let Err(error) = collected {
        ui.warn(error.within("cannot keep the cache within its size").to_string());
    }
    replay.tally()
}

fn prepare(options: &RunOptions, ui: &Ui, scope: &Scope, resources: &Resources) -> Result<(Rc<State>, String)> {
    let script = std::path::absolute(&options.script).map_err(|e| io_error("find", &options.script, e))?;
    let source = read_script(&script)?;
    let script_dir = script.parent().unwrap_or(Path::new("/")).to_owned();
    let cache_dir = options.cache_dir.clone().map_or_else(dirs::cache, Ok)?;
    // It is made by what first needs it, and goes with the journal.
    let work_dir = match &options.journal {
        Some(journal) => journal.work_dir().to_owned(),
        None => {
            let id = uuid::Uuid::new_v4().simple().to_string();
            let work_dir = cache_dir.join("run").join(id.get(..12).unwrap_or(&id));
            resources.enter_path("folder", &work_dir)?;
            work_dir
        }
    };
    let settings = Arc::new(Settings {
        mode: options.mode,
        force: options.force,
        on_error: options.on_error,
        debug: options.debug,
        script_dir,
        cache_dir,
        state_dir: options.state_dir.clone().map_or_else(dirs::state, Ok)?,
        work_dir,
        abort: options.abort.clone(),
        needs: options.needs.clone(),
    });
    let replay = match (&options.replay, options.mode) {
        (Some(choices), Mode::Live) => {
            let opened = Replay::open(&settings.cache_dir, &settings.state_dir, &script, choices.clone());
            Some(Arc::new(opened.map_err(|e| e.within("cannot keep records of what is done"))?))
        }
        _ => None,
    };
    let name = script.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let main = BuildCx {
        build: name.as_str().into(),
        scope: scope.child(),
        resources: Resources::of(&name, options.journal.as_ref(), ui),
        machines: Default::default(),
        ui: ui.for_build(&name),
        settings: settings.clone(),
        step: None,
        steps: Default::default(),
        lane: Default::default(),
        replay,
    };
    let state = State {
        settings,
        ui: ui.clone(),
        scope: scope.clone(),
        main,
        journal: options.journal.clone(),
        main_worked: Cell::new(false),
        acted: Cell::new(false),
        pretended: Cell::new(false),
        fail_fast: options.fail_fast,
        schedule: Arc::new(Schedule::new(options.parallel)),
        selection: Selection::new(&options.only, &options.except)?,
        variables: Variables::load(&options.var_files, &options.vars)?,
        builds: RefCell::default(),
        tasks: RefCell::default(),
        sources: RefCell::default(),
        modules: loader::Modules::default(),
        trampoline: OnceCell::new(),
        flow: OnceCell::new(),
    };
    Ok((Rc::new(state), source))
}

fn read_script(path: &PathBuf) -> Result<String> {
    let bytes = std::fs::read(path).map_err(|e| {
        let error = io_error("read the script", path, e);
        if path.is_dir() { error.hint("name a Lua file in it, such as build.lua") } else { error }
    })?;
    String::from_utf8(bytes)
        .map_err(|_| Error::new(Kind::Script, format!("{} is not a Lua script (not UTF-8)", path.display())))
}

async fn execute(state: Rc<State>, options: RunOptions, source: String) -> (Outcome, Inspection) {
    let started = Instant::now();
    let lua = match runtime::make(state.clone()) {
        Ok(lua) => lua,
        Err(error) => {
            state.ui.emit(Event::Failed { error: *report::of_error(&state, &error).report });
            return (Outcome::ScriptError, Inspection::default());
        }
    };
    // Functions among the options are called from elsewhere as long as anything of the script is going on.
    tokio::select! {
        biased;
        never = callbacks::serve(&lua) => match never {},
        ended = work(&lua, &state, &options, source, started) => ended,
    }
}

/// Runs the main chunk and every build to their ends.
async fn work(
    lua: &Lua,
    state: &Rc<State>,
    options: &RunOptions,
    source: String,
    started: Instant,
) -> (Outcome, Inspection) {
    let script = std::path::absolute(&options.script).unwrap_or_else(|_| options.script.clone());
    let shown = loader::shown_name(state, &script);
    let result = match loader::load(lua, state, &shown, source) {
        Ok(chunk) => state.main.clone().enter(builds::call(lua, state, &state.main, None, chunk)).await.map(|_| ()),
        Err(error) => Err(report::of_error(state, &error)),
    };
    if let Err(failure) = &result
        && !state.main.scope.is_cancelled()
    {
        // Without its main chunk the script is not what its author meant: stop what it has started.
        let reason = Error::new(Kind::Cancelled, "stopped, since the script itself failed");
        state.main.scope.cancel(reason.caused_by(failure.error.clone()));
    }
    if result.is_ok() {
        state.variables.unused().into_iter().for_each(|text| state.ui.warn(text));
    }
    join_builds(state).await;
    let failure = result.as_ref().err().filter(|_| state.main_worked.get() && !state.scope.is_cancelled());
    let after = BuildCx { scope: state.scope.child(), ..state.main.clone() };
    aftermath::follow(lua, state, &after, None, failure).await;
    let failed = finish(state, result, started);
    let builds = state.builds.borrow();
    let any_failed = failed || builds.iter().any(|build| build.error().is_some());
    for build in builds.iter().filter(|build| build.is_deferred() && state.settings.mode != Mode::Inspect) {
        state.ui.emit(Event::BuildSkipped { build: build.name().to_owned() });
    }
    let outcome = match any_failed {
        false => Outcome::Done,
        // A run that is out of time has failed; nobody has called it off.
        true if state.scope.is_cancelled() && state.scope.reason().kind() == Kind::Cancelled => Outcome::Cancelled,
        true if !ran_something(state) || state.settings.mode != Mode::Live => Outcome::ScriptError,
        true => Outcome::Failed,
    };
    let inspection = Inspection {
        variables: state.variables.declared(),
        builds: if builds.is_empty() {
            vec![state.main.build.to_string()]
        } else {
            builds.iter().map(|build| build.name().to_owned()).collect()
        },
    };
    (outcome, inspection)
}

/// Tells whether anything was begun: a machine, a program, or a build that got further than a wrong option.
fn ran_something(state: &State) -> bool {
    let got_further = |build: &Rc<builds::Build>| match build.error() {
        Some(error) => !matches!(error.kind(), Kind::Option | Kind::Usage),
        None => !build.is_deferred(),
    };
    state.main_worked.get() || state.acted.get() || state.builds.borrow().iter().any(got_further)
}

/// Waits for every build, those included that builds start while they are waited for.
async fn join_builds(state: &State) {
    loop {
        let Some(task) = state.tasks.borrow_mut().pop_front() else { return };
        if let Err(error) = task.await {
            let error = Error::new(Kind::Internal, "a build ended abnormally").caused_by(error);
            state.ui.emit(Event::Failed { error: *report::plain(error).report });
        }
    }
}

/// Says how the main chunk ended; true when it failed.
fn finish(state: &State, result: std::result::Result<(), Failure>, started: Instant) -> bool {
    let is_build = state.main_worked.get() || (state.builds.borrow().is_empty() && result.is_ok());
    let error = result.err().map(|failure| *failure.report);
    let failed = error.is_some();
    if is_build {
        let build = state.main.build.to_string();
        if !state.main_worked.get() {
            state.ui.emit(Event::BuildStarted { build: build.clone() });
        }
        let seconds = started.elapsed().as_secs_f64();
        state.ui.emit(Event::BuildFinished { build, ok: !failed, seconds, error });
    } else if let Some(error) = error {
        state.ui.emit(Event::Failed { error });
    }
    failed
}
