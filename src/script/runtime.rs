//! The Lua state: made once a run, with the prelude and the `rimg` module in it.

use std::rc::Rc;

use mlua::{HookTriggers, Lua, LuaOptions, StdLib, Table, Value, VmState};

use super::error::{argument_error, find, lua_error};
use super::loader;
use super::state::{self, State};
use super::{api, value};
use crate::error::{Error, Kind};

/// How many instructions pure Lua runs before somebody looks whether the run was cancelled.
const CANCEL_CHECK: u32 = 1_000_000;

/// Makes the Lua state of a run.
pub fn make(state: Rc<State>) -> mlua::Result<Lua> {
    // SAFETY: the debug library is what makes this constructor unsafe. Only the prelude, which is ours, sees it; it
    // replaces the global with a table that has nothing but `traceback` before any other chunk is loaded.
    let lua = unsafe { Lua::unsafe_new_with(StdLib::ALL_SAFE | StdLib::DEBUG, LuaOptions::default()) };
    lua.set_app_data(state.clone());
    let prelude = loader::load(&lua, &state, "rimg/prelude.lua", loader::PRELUDE.to_owned())?;
    let parts: Table = prelude.call(native(&lua)?)?;
    let flow: Table = parts.get("flow")?;
    let _ = state.trampoline.set(parts.get("trampoline")?);
    let _ = state.flow.set(flow.clone());
    let rimg = api::module(&lua, &flow)?;
    let loaded: Table = lua.globals().get::<Table>("package")?.get("loaded")?;
    loaded.set("rimg", &rimg)?;
    let scope = state.main.scope.clone();
    lua.set_global_hook(HookTriggers::new().every_nth_instruction(CANCEL_CHECK), move |_, _| {
        if scope.is_cancelled() { Err(lua_error(scope.reason())) } else { Ok(VmState::Continue) }
    })?;
    Ok(lua)
}

/// The functions the prelude is given.
fn native(lua: &Lua) -> mlua::Result<Table> {
    let native = lua.create_table()?;
    native.set("pending", Value::LightUserData(Lua::poll_pending()))?;
    native.set(
        "sample_error",
        lua.create_function(|_, ()| -> mlua::Result<()> { Err(mlua::Error::runtime("sample")) })?,
    )?;
    native.set("error_field", lua.create_function(error_field)?)?;
    native.set("error_text", lua.create_function(|_, error: Value| Ok(error_text(&error)))?)?;
    native.set("find_module", lua.create_function(|lua, name: String| loader::find_module(lua, &name))?)?;
    native.set("load_file", lua.create_function(|lua, path: String| loader::load_file(lua, &path))?)?;
    native.set("print", lua.create_function(print)?)?;
    native.set(
        "pause",
        lua.create_async_function(async |_, ()| {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            Ok(())
        })?,
    )?;
    native.set("before_fork", lua.create_async_function(api::machine::before_fork)?)?;
    native.set("fork_machine", lua.create_function(api::machine::fork)?)?;
    native.set("boot_artifact", lua.create_async_function(api::artifact::boot)?)?;
    api::flow::native(lua, &native)?;
    Ok(native)
}

fn print(lua: &Lua, text: mlua::LuaString) -> mlua::Result<()> {
    let state = state::of(lua)?;
    for line in text.to_string_lossy().lines() {
        state.current().ui.info(line);
    }
    Ok(())
}

/// Reads a field of an error in Lua: `kind`, `message`, `hint`, `hints`, and what the error itself carries.
fn error_field(lua: &Lua, (error, name): (Value, Value)) -> mlua::Result<Value> {
    let (Value::Error(error), Value::String(name)) = (&error, &name) else { return Ok(Value::Nil) };
    let name = name.to_string_lossy();
    let Some(ours) = find(error) else {
        return match name.as_str() {
            "kind" => "script".into_lua(lua),
            "message" => error_text(&Value::Error(error.clone())).into_lua(lua),
            _ => Ok(Value::Nil),
        };
    };
    match name.as_str() {
        "kind" => ours.kind().as_str().into_lua(lua),
        "message" => ours.full_message().into_lua(lua),
        "hint" => ours.hints().first().cloned().into_lua(lua),
        "hints" => ours.hints().to_vec().into_lua(lua),
        field => match ours.get(field) {
            Some(json) => value::json_to_lua(lua, json),
            None => Ok(Value::Nil),
        },
    }
}

use mlua::IntoLua;

/// Renders an error as `tostring` shows it: the message with its causes, without Lua's wrapping.
fn error_text(error: &Value) -> String {
    let Value::Error(error) = error else { return error.type_name().to_owned() };
    match find(error) {
        Some(ours) => ours.full_message(),
        None => innermost(error).to_string(),
    }
}

fn innermost(error: &mlua::Error) -> &mlua::Error {
    match error {
        mlua::Error::CallbackError { cause, .. } | mlua::Error::WithContext { cause, .. } => innermost(cause),
        other => other,
    }
}

/// Makes a table whose unknown names are errors that name the nearest known one.
pub fn strict(lua: &Lua, table: &Table, of: &'static str) -> mlua::Result<()> {
    let meta = lua.create_table()?;
    meta.set(
        "__index",
        lua.create_function(move |_, (table, name): (Table, Value)| -> mlua::Result<Value> {
            let Value::String(name) = &name else { return Ok(Value::Nil) };
            let name = name.to_string_lossy();
            let names: Vec<String> =
                table.pairs::<String, Value>().filter_map(|pair| pair.ok().map(|(name, _)| name)).collect();
            Err(unknown_name(of, &name, &names))
        })?,
    )?;
    meta.set("__name", of)?;
    meta.set("__metatable", false)?;
    table.set_metatable(Some(meta))
}

/// Makes the error for a name that a module or object does not have.
pub fn unknown_name(of: &str, name: &str, names: &[String]) -> mlua::Error {
    match crate::engine::options::did_you_mean(name, names) {
        Some(hint) => lua_error(Error::new(Kind::Script, format!("{of} has no `{name}`")).hint(hint)),
        None => argument_error(of, format_args!("there is no `{name}`")),
    }
}
