//! The flat table of names that a module ends in.

use std::future::Future;

use mlua::{FromLuaMulti, IntoLuaMulti, Lua, Table};

use crate::script::runtime::strict;

/// Builds a module's table, one name a line.
pub struct Names {
    lua: Lua,
    table: Table,
    /// The module's name, where unknown names of it are to be errors.
    strict: Option<&'static str>,
}

impl Names {
    /// Begins the table of a module; `of` is what scripts call it: `rimg.json`.
    pub fn new(lua: &Lua, of: &'static str) -> mlua::Result<Names> {
        Ok(Names { lua: lua.clone(), table: lua.create_table()?, strict: Some(of) })
    }

    /// Goes on with a table that is there.
    pub fn of(lua: &Lua, table: &Table) -> Names {
        Names { lua: lua.clone(), table: table.clone(), strict: None }
    }

    /// Adds a function that answers at once; it may be called anywhere, in a callback of `table.sort` too.
    pub fn function<A: FromLuaMulti, R: IntoLuaMulti>(
        self,
        name: &str,
        function: impl Fn(&Lua, A) -> mlua::Result<R> + 'static,
    ) -> mlua::Result<Names> {
        self.table.raw_set(name, self.lua.create_function(function)?)?;
        Ok(self)
    }

    /// Adds a function that others may run beside.
    pub fn async_function<A, R, F>(self, name: &str, function: impl Fn(Lua, A) -> F + 'static) -> mlua::Result<Names>
    where
        A: FromLuaMulti,
        R: IntoLuaMulti,
        F: Future<Output = mlua::Result<R>> + 'static,
    {
        self.table.raw_set(name, self.lua.create_async_function(function)?)?;
        Ok(self)
    }

    /// Adds a value.
    pub fn value(self, name: &str, value: impl mlua::IntoLua) -> mlua::Result<Names> {
        self.table.raw_set(name, value)?;
        Ok(self)
    }

    /// Returns the table; a name it does not have is an error that names the nearest.
    pub fn done(self) -> mlua::Result<Table> {
        if let Some(of) = self.strict {
            strict(&self.lua, &self.table, of)?;
        }
        Ok(self.table)
    }
}
