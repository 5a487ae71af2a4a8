//! The `rimg` module: one file a part, each adding its names to the table.

#[cfg(feature = "amazon")]
pub mod amazon;
pub mod artifact;
pub mod base64;
pub mod build;
pub mod builders;
pub mod classes;
pub mod codec;
pub mod current;
pub mod download;
pub mod exec;
pub mod flow;
pub mod fs;
pub mod git;
pub mod hash;
pub mod host;
pub mod http;
pub mod json;
pub mod log;
pub mod machine;
pub mod names;
#[cfg(test)]
pub mod testing;
pub mod toml;
pub mod vars;
pub mod yaml;

use mlua::{Lua, Table};

use super::runtime::strict;
use super::state;

/// Makes the `rimg` module; `flow` is the prelude's half of the control flow.
pub fn module(lua: &Lua, flow: &Table) -> mlua::Result<Table> {
    let rimg = bare(lua, flow)?;
    rimg.set("script_dir", state::of(lua)?.settings.script_dir.display().to_string())?;
    rimg.set("cache_dir", state::of(lua)?.settings.cache_dir.display().to_string())?;
    rimg.set("version", env!("CARGO_PKG_VERSION"))?;
    strict(lua, &rimg, "rimg")?;
    Ok(rimg)
}

/// Makes the table with all its functions, without a run behind it.
pub fn bare(lua: &Lua, flow: &Table) -> mlua::Result<Table> {
    let rimg = lua.create_table()?;
    artifact::register(lua, &rimg)?;
    build::register(lua, &rimg)?;
    builders::register(lua, &rimg)?;
    #[cfg(feature = "amazon")]
    amazon::register(lua, &rimg)?;
    flow::register(lua, &rimg, flow)?;
    vars::register(lua, &rimg)?;
    host::register(lua, &rimg)?;
    Ok(rimg)
}
