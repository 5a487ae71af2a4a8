//! `rimg.build` and its handle.

use std::rc::Rc;

use mlua::{Function, Lua, MultiValue, Table, UserData, UserDataFields, UserDataMethods, Value};
use serde::Deserialize;

use crate::engine::Seconds;
use crate::engine::options::Callback;
use crate::script::builds::{self, Build};
use crate::script::error::{IntoLuaResult, argument_error};
use crate::script::{state, value};

/// The options of `rimg.build(name, options, fn)`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BuildOptions {
    /// How long the build may take in all.
    pub timeout: Option<Seconds>,
    /// What is called when the build has failed, before its machines are removed: `function(vm, err, machines)`.
    pub on_error: Option<Callback>,
}

struct Handle(Rc<Build>);

impl UserData for Handle {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_field_method_get("name", |_, handle| Ok(handle.0.name().to_owned()));
        fields.add_field_method_get("status", |_, handle| Ok(handle.0.status()));
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_async_method("await", async |lua, handle, ()| {
            let (state, build) = (state::of(&lua)?, handle.0.clone());
            drop(handle);
            builds::wait(&lua, &state, &build).await.into_lua_result()
        });
        methods.add_meta_method("__tostring", |_, handle, ()| Ok(format!("build {}", handle.0.name())));
    }
}

fn build(lua: &Lua, args: MultiValue) -> mlua::Result<mlua::AnyUserData> {
    let mut args = args.into_iter();
    let name = value::string("rimg.build", "the build's name", &args.next().unwrap_or(Value::Nil))?;
    let (options, on_error, body) = match (args.next(), args.next()) {
        (Some(Value::Function(body)), None | Some(Value::Nil)) => (BuildOptions::default(), None, body),
        (Some(Value::Table(table)), Some(Value::Function(body))) => {
            let options = value::decode_table("rimg.build", &Value::Table(table.clone()))?;
            // It is given machines, which are no data: so it is called as it is.
            (options, table.raw_get::<Option<Function>>("on_error")?, body)
        }
        _ => {
            return Err(argument_error(
                "rimg.build",
                "expected rimg.build(name, function) or rimg.build(name, options, function)",
            ));
        }
    };
    let (options, body): (BuildOptions, Function) = (options, body);
    let build = builds::declare(lua, &name, options.timeout.map(|t| t.0), on_error, body).into_lua_result()?;
    lua.create_userdata(Handle(build))
}

/// Adds `build` to the `rimg` table.
pub fn register(lua: &Lua, rimg: &Table) -> mlua::Result<()> {
    rimg.set("build", lua.create_function(build)?)
}
