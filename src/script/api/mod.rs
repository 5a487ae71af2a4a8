//! The `rimg` module: one file a part, each adding its names to the table.

pub mod base64;
pub mod build;
pub mod codec;
pub mod current;
pub mod exec;
pub mod flow;
pub mod fs;
pub mod glob;
pub mod hash;
pub mod host;
pub mod json;
pub mod log;
pub mod names;
#[cfg(test)]
pub mod testing;
pub mod toml;
pub mod vars;
pub mod yaml;

use mlua::{Lua, Table};

use super::runtime::strict;
use super::state;

/// Makes the `rimg` table; `flow` is the prelude's half of the control flow.
pub fn module(lua: &Lua, flow: &Table) -> mlua::Result<Table> {
    let rimg = lua.create_table()?;
    build::register(lua, &rimg)?;
    flow::register(lua, &rimg, flow)?;
    vars::register(lua, &rimg)?;
    host::register(lua, &rimg)?;
    rimg.set("script_dir", state::of(lua)?.settings.script_dir.display().to_string())?;
    rimg.set("version", env!("CARGO_PKG_VERSION"))?;
    strict(lua, &rimg, "rimg")?;
    Ok(rimg)
}
