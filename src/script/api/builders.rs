//! The builders' functions, one for each line of the registry: `rimg.qemu{…}`.

use mlua::{AnyUserData, Lua, Table, Value};

use crate::builder::{Entry, REGISTRY};
use crate::engine::{Session, Value as Data};
use crate::error::Error;
use crate::script::error::IntoLuaResult;
use crate::script::{state, value};

use super::artifact::Origin;
use super::machine::MachineHandle;

/// Launches a machine with a builder of the registry and hands it to the script.
pub async fn launch(lua: &Lua, entry: &'static Entry, options: Data, throwaway: bool) -> mlua::Result<AnyUserData> {
    let state = state::of(lua)?;
    let builder = (entry.decode)(options.clone()).into_lua_result()?;
    // What is wrong with the options is found before anything runs, and is no failed build.
    let named = |e: Error| e.within(format_args!("rimg.{}", builder.kind()));
    builder.validate(&state.current()).map_err(named).into_lua_result()?;
    state.begin_work();
    state.pretended.set(!state.settings.is_live());
    let session = Session::launch(builder, state.current(), throwaway).await.into_lua_result()?;
    lua.create_userdata(MachineHandle::new(session, Some(Origin { builder: entry, options })))
}

/// Takes the option table of a call; none is an empty one.
pub fn options(table: Value) -> Data {
    match table {
        Value::Nil => Data::Map(Vec::new()),
        other => value::from_lua(&other),
    }
}

/// Adds every builder to the `rimg` table; a dot in a name is a table inside it.
pub fn register(lua: &Lua, rimg: &Table) -> mlua::Result<()> {
    for entry in REGISTRY {
        let function =
            lua.create_async_function(async move |lua, table: Value| launch(&lua, entry, options(table), false).await)?;
        match entry.name.split_once('.') {
            None => rimg.raw_set(entry.name, function)?,
            Some((group, name)) => {
                let table: Table = match rimg.raw_get(group)? {
                    Value::Table(table) => table,
                    _ => lua.create_table()?,
                };
                table.raw_set(name, function)?;
                rimg.raw_set(group, table)?;
            }
        }
    }
    Ok(())
}
