//! What follows a build: its error function, what becomes of its machines, and the end of all else that it made.

use std::time::Duration;

use mlua::{Function, Lua, Value};

use super::api::machine::MachineHandle;
use super::builds;
use super::error::lua_error;
use super::report::Failure;
use super::state::State;
use crate::engine::BuildCx;
use crate::engine::on_error::OnError;
use crate::engine::resource::Removed;
use crate::error::{Error, Result};
use crate::ui::Event;

/// How long a build's error function may take.
const ERROR_FUNCTION_LIMIT: Duration = Duration::from_secs(120);

/// Ends a build: calls its error function, keeps its machines where that is asked for, and destroys everything else, in
/// reverse order. After a cancellation there is only the last.
pub async fn follow(lua: &Lua, state: &State, cx: &BuildCx, on_error: Option<&Function>, failure: Option<&Failure>) {
    if let Some(failure) = failure.filter(|_| !cx.scope.is_cancelled()) {
        if let Some(function) = on_error {
            call(lua, state, cx, function, &failure.error).await;
        }
        match cx.settings.on_error {
            // Cancelled meanwhile: nobody looks at them any more.
            _ if cx.scope.is_cancelled() => {}
            OnError::Abort => cx.abort(),
            OnError::Keep => keep(cx).await,
            OnError::Ask if cx.machines.are_kept() => keep(cx).await,
            OnError::Cleanup | OnError::Ask => {}
        }
    }
    if !cx.settings.abort.is_cancelled() {
        clean_up(cx).await;
    }
}

/// Calls a build's error function with its machines that are up and the error. A failure of its own is a warning.
async fn call(lua: &Lua, state: &State, cx: &BuildCx, function: &Function, error: &Error) {
    let machines = cx.machines.up();
    let arguments = || {
        let handle = |session| lua.create_userdata(MachineHandle::new(session, None));
        for session in &machines {
            session.stop_recording();
        }
        let all = machines.iter().cloned().map(handle).collect::<mlua::Result<Vec<_>>>()?;
        let last = all.first().map_or(Value::Nil, |machine| Value::UserData(machine.clone()));
        Ok::<_, mlua::Error>((function.clone(), last, lua_error(error.clone()), lua.create_sequence_from(all)?))
    };
    cx.ui.info("the build failed: calling its on_error function");
    let called = match arguments() {
        Ok(arguments) => {
            let called = builds::call(lua, state, cx, Some(ERROR_FUNCTION_LIMIT), arguments);
            cx.clone().enter(called).await.map(drop).map_err(|failure| *failure.report)
        }
        Err(error) => Err(*super::report::of_error(state, &error).report),
    };
    if let Err(report) = called {
        let place = report.location.map(|place| format!(" ({place})")).unwrap_or_default();
        let message = match report.kind.as_str() {
            "timeout" => format!("it took longer than {ERROR_FUNCTION_LIMIT:?}"),
            _ => report.message,
        };
        cx.ui.warn(format!("the build's on_error function failed{place}: {message}"));
    }
}

/// Keeps the machines of a failed build, and says how to get at them.
async fn keep(cx: &BuildCx) {
    let mut kept = false;
    for session in cx.machines.up() {
        let name = session.name().to_owned();
        let done: Result<bool> = session.keep("its build failed, and --on-error asks to keep it").await;
        match done {
            Ok(true) => {
                kept = true;
                let machine = session.machine();
                let id = machine.as_ref().map(|machine| machine.id()).unwrap_or_default();
                let shell = machine.and_then(|machine| machine.shell());
                let shell = shell.unwrap_or_else(|| format!("rimg ssh {}", cx.build));
                cx.ui.emit(Event::MachineKept { build: cx.build.to_string(), machine: name, id, shell });
            }
            Ok(false) => cx.ui.info(format!("nothing of {name} to keep: it is not rimg's, and stays as it is")),
            Err(error) => cx.ui.warn(format!("{name} is not kept: {error}")),
        }
    }
    if !kept {
        cx.ui.info("no machine of this build is up that could be kept");
    }
}

/// Destroys what a build made, in reverse order, and says what could not be.
pub async fn clean_up(cx: &BuildCx) {
    // A machine that stays is told good-bye, after what was cancelled on it has ended.
    for session in cx.machines.up() {
        if session.machine().is_some_and(|machine| machine.is_foreign()) {
            session.disconnect().await;
        }
    }
    let tell = |removed: Removed| {
        cx.ui.emit(Event::ResourceRemoved {
            build: cx.build.to_string(),
            kind: removed.kind.to_owned(),
            name: removed.name,
            ok: removed.ok,
            seconds: removed.took.as_secs_f64(),
        });
    };
    for error in cx.resources.release_all_telling(tell).await {
        cx.ui.warn(error.to_string());
    }
    cx.machines.clear();
}
