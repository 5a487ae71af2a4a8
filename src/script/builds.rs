//! The life of a build: started at once or when awaited, run in its own coroutine, cleaned up, its result kept.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use mlua::{Function, Lua, MultiValue, Value};
use tokio::sync::Notify;

use super::aftermath;
use super::api::artifact::ArtifactHandle;
use super::report::{self, Failure};
use super::state::{self, State};
use crate::engine::artifact::INSTEAD;
use crate::engine::schedule::Place;
use crate::engine::{Artifact, BuildCx, Resources};
use crate::error::{Error, Kind, Result};
use crate::ui::Event;

/// How long a build that is cancelled waits for those that were started after it.
const LATER_ONES: Duration = Duration::from_secs(10);

enum Phase {
    /// Left out by `--only`/`--except`; runs if something awaits it.
    Deferred(Function),
    Running,
    Done(Result<MultiValue>),
}

/// One `rimg.build`.
pub struct Build {
    cx: BuildCx,
    limit: Option<Duration>,
    on_error: Option<Function>,
    phase: RefCell<Phase>,
    place: RefCell<Option<Place>>,
    done: Notify,
}

impl Build {
    /// Returns the build's name.
    pub fn name(&self) -> &str {
        &self.cx.build
    }

    /// Returns `deferred`, `running`, `done` or `failed`.
    pub fn status(&self) -> &'static str {
        match &*self.phase.borrow() {
            Phase::Deferred(_) => "deferred",
            Phase::Running => "running",
            Phase::Done(Ok(_)) => "done",
            Phase::Done(Err(_)) => "failed",
        }
    }

    /// Returns the error of a build that failed.
    pub fn error(&self) -> Option<Error> {
        match &*self.phase.borrow() {
            Phase::Done(Err(error)) => Some(error.clone()),
            _ => None,
        }
    }

    /// Tells whether it was left out and nothing has awaited it.
    pub fn is_deferred(&self) -> bool {
        matches!(&*self.phase.borrow(), Phase::Deferred(_))
    }
}

/// Declares a build and starts it, unless it is left out.
pub fn declare(
    lua: &Lua,
    name: &str,
    limit: Option<Duration>,
    on_error: Option<Function>,
    body: Function,
) -> Result<Rc<Build>> {
    let state = state::of(lua).map_err(|e| Error::new(Kind::Internal, e.to_string()))?;
    if name.trim().is_empty() || name.chars().any(|c| c.is_control() || c == '/') {
        return Err(Error::new(Kind::Option, format!("rimg.build: {name:?} cannot be a build's name"))
            .hint("use a short name without slashes and line breaks; files and log lines are called after it"));
    }
    if state.build(name).is_some() {
        return Err(Error::new(Kind::Script, format!("rimg.build: there is a build named {name:?} already"))
            .hint("builds made in a loop need a name of their own each, such as \"web-\" .. region"));
    }
    let cx = BuildCx {
        build: name.into(),
        scope: state.main.scope.child(),
        resources: Resources::of(name, state.journal.as_ref(), &state.ui),
        machines: Default::default(),
        ui: state.ui.for_build(name),
        settings: state.settings.clone(),
        step: None,
        steps: Default::default(),
        lane: Default::default(),
        replay: state.main.replay.clone(),
    };
    let build = Rc::new(Build {
        cx,
        limit,
        on_error,
        phase: RefCell::new(Phase::Deferred(body)),
        place: RefCell::new(None),
        done: Notify::new(),
    });
    state.builds.borrow_mut().push(build.clone());
    let inspecting = state.settings.mode == crate::engine::Mode::Inspect;
    if state.selection.includes(name) && !inspecting {
        start(lua, &state, &build);
    }
    Ok(build)
}

fn start(lua: &Lua, state: &Rc<State>, build: &Rc<Build>) {
    let Phase::Deferred(body) = build.phase.replace(Phase::Running) else { return };
    let task = tokio::task::spawn_local(run(lua.clone(), state.clone(), build.clone(), body));
    state.tasks.borrow_mut().push_back(task);
}

async fn run(lua: Lua, state: Rc<State>, build: Rc<Build>, body: Function) {
    let scope = build.cx.scope.clone();
    tokio::select! {
        biased;
        _ = scope.cancelled() => {}
        place = state.schedule.place() => { build.place.replace(Some(place)); }
    }
    let name = build.name().to_owned();
    build.cx.ui.emit(Event::BuildStarted { build: name.clone() });
    let started = Instant::now();
    let result = build.cx.clone().enter(call(&lua, &state, &build.cx, build.limit, body)).await;
    let seconds = started.elapsed().as_secs_f64();
    let failure = result.as_ref().err().filter(|_| !scope.is_cancelled());
    if state.fail_fast && failure.is_some() {
        let reason = format!("stopped, since the build {name} failed (--fail-fast)");
        state.main.scope.cancel(Error::new(Kind::Cancelled, reason));
    }
    if scope.is_cancelled() && failure.is_none() {
        later_ones_first(&state, &build).await;
    }
    // What follows a failure is not stopped by what the failure has stopped.
    let after = BuildCx { scope: state.scope.child(), ..build.cx.clone() };
    aftermath::follow(&lua, &state, &after, build.on_error.as_ref(), failure).await;
    let error = result.as_ref().err().map(|failure| (*failure.report).clone());
    build.cx.ui.emit(Event::BuildFinished { build: name.clone(), ok: error.is_none(), seconds, error });
    build.place.replace(None);
    build.phase.replace(Phase::Done(result.map_err(|failure| failure.error)));
    build.done.notify_waiters();
}

/// Runs a function as the body of a build: until it returns, fails, is cancelled or runs out of time.
pub async fn call(
    lua: &Lua,
    state: &State,
    cx: &BuildCx,
    limit: Option<Duration>,
    body: impl mlua::IntoLuaMulti,
) -> std::result::Result<MultiValue, Failure> {
    let work = async {
        let trampoline = state.trampoline.get().ok_or_else(|| mlua::Error::runtime("no trampoline"))?;
        trampoline.call_async::<MultiValue>(body).await
    };
    let work = async { work.await.map_err(|e| report::of_error(state, &e)) };
    let timed = async {
        match limit {
            None => work.await,
            Some(limit) => tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
                let error = Error::new(Kind::Timeout, format!("the build took longer than its timeout of {limit:?}"));
                Err(report::plain(error))
            }),
        }
    };
    let mut results = tokio::select! {
        biased;
        reason = cx.scope.cancelled() => return Err(report::plain(reason)),
        results = timed => results?,
    };
    match results.pop_front() {
        Some(Value::Boolean(true)) => Ok(results),
        _ => {
            let failure = report::of_captured(lua, state, results.pop_front().unwrap_or(Value::Nil));
            if let Some(artifact) = there_already(&failure.error) {
                cx.ui.info(format!("nothing to do: {}", failure.error.message()));
                cx.ui.emit(artifact.event());
                let handle = lua.create_userdata(ArtifactHandle { artifact, origin: None });
                return handle
                    .map(|handle| MultiValue::from_iter([Value::UserData(handle)]))
                    .map_err(|e| report::of_error(state, &e));
            }
            if state.pretended.get() && failure.error.get("given_up").is_some() {
                // `rimg.fail` after looking at an empty answer says nothing about the script.
                let place = failure.report.location.as_deref().unwrap_or("here");
                cx.ui.info(format!(
                    "checked up to {place}, where the script gives up on what a pretended machine answers"
                ));
                return Ok(MultiValue::new());
            }
            Err(failure)
        }
    }
}

/// Returns what a build that need not be done would have made.
fn there_already(error: &Error) -> Option<Artifact> {
    error.get(INSTEAD).and_then(|artifact| serde_json::from_value(artifact.clone()).ok())
}

/// Waits a while for the builds that were started after this one: what is cancelled unwinds in reverse order.
async fn later_ones_first(state: &State, build: &Rc<Build>) {
    let builds = state.builds.borrow().clone();
    let later = builds.iter().rev().take_while(|other| !Rc::ptr_eq(other, build));
    let ended = async {
        for other in later {
            loop {
                let done = other.done.notified();
                if !matches!(&*other.phase.borrow(), Phase::Running) {
                    break;
                }
                done.await;
            }
        }
    };
    let _ = tokio::time::timeout(LATER_ONES, ended).await;
}

/// Waits for a build's end and returns what its function returned.
pub async fn wait(lua: &Lua, state: &Rc<State>, target: &Rc<Build>) -> Result<MultiValue> {
    let waiter_name = state.current().build.clone();
    let _waiting = state.schedule.wait(&waiter_name, target.name())?;
    if target.is_deferred() {
        start(lua, state, target);
    }
    if let Phase::Running = &*target.phase.borrow() {
    } else {
        return outcome(target);
    }
    let waiter = state.build(&waiter_name);
    let given_back = waiter.as_deref().map(GivenBack::begin);
    loop {
        let done = target.done.notified();
        if !matches!(&*target.phase.borrow(), Phase::Running) {
            break;
        }
        done.await;
    }
    if let Some(given_back) = given_back {
        given_back.end(state).await;
    }
    outcome(target)
}

fn outcome(target: &Build) -> Result<MultiValue> {
    match &*target.phase.borrow() {
        Phase::Done(Ok(values)) => Ok(values.clone()),
        Phase::Done(Err(error)) => Err(error.clone().within(format_args!("the build {} failed", target.name()))),
        _ => Err(Error::new(Kind::Internal, format!("the build {} has not ended", target.name()))),
    }
}

/// A build's place under `--parallel`, given back while it waits.
struct GivenBack<'a> {
    build: &'a Build,
    ended: bool,
}

impl<'a> GivenBack<'a> {
    fn begin(build: &'a Build) -> GivenBack<'a> {
        if let Some(place) = build.place.borrow_mut().as_mut() {
            place.begin_wait();
        }
        GivenBack { build, ended: false }
    }

    async fn end(mut self, state: &State) {
        self.ended = true;
        let again = self.build.place.borrow_mut().as_mut().is_some_and(Place::end_wait);
        if again {
            let place = state.schedule.place().await;
            if let Some(own) = self.build.place.borrow_mut().as_mut() {
                own.take(place);
            }
        }
    }
}

impl Drop for GivenBack<'_> {
    fn drop(&mut self) {
        if !self.ended
            && let Some(place) = self.build.place.borrow_mut().as_mut()
        {
            place.end_wait();
        }
    }
}
