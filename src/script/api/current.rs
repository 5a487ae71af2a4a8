//! Where a function of the API finds itself: the build it is called in.

use mlua::Lua;

use crate::engine::BuildCx;
use crate::error::{Error, Kind};
use crate::script::error::lua_error;
use crate::script::state;

/// Returns the surroundings of the build that calls `of`; the main chunk's outside of any.
pub fn current(lua: &Lua, of: &str) -> mlua::Result<BuildCx> {
    BuildCx::current().or_else(|| state::of(lua).ok().map(|state| state.main.clone())).ok_or_else(|| {
        lua_error(
            Error::new(Kind::Script, format!("{of} was called outside of a run"))
                .hint("call it from a script that `rimg run` or `rimg check` runs"),
        )
    })
}

/// Writes down that the world is about to be touched: an error from now on is not one "before anything ran".
pub fn acts(lua: &Lua) {
    if let Ok(state) = crate::script::state::of(lua) {
        state.acted.set(true);
    }
}
