//! Our errors in Lua and back: wrapped for the script, found again behind whatever Lua put around them.

use std::error::Error as _;

use crate::error::{Error, Kind};

/// Wraps our error so that Lua can carry it.
pub fn lua_error(error: Error) -> mlua::Error {
    mlua::Error::external(error)
}

/// Returns our error behind callbacks, contexts and bad arguments, where there is one.
pub fn find(error: &mlua::Error) -> Option<&Error> {
    match error {
        mlua::Error::CallbackError { cause, .. }
        | mlua::Error::WithContext { cause, .. }
        | mlua::Error::BadArgument { cause, .. } => find(cause),
        mlua::Error::ExternalError(external) => {
            if let Some(ours) = external.downcast_ref::<Error>() {
                return Some(ours);
            }
            if let Some(lua) = external.downcast_ref::<mlua::Error>() {
                return find(lua);
            }
            let mut source = external.source();
            while let Some(error) = source {
                if let Some(ours) = error.downcast_ref::<Error>() {
                    return Some(ours);
                }
                source = error.source();
            }
            None
        }
        _ => None,
    }
}

/// Makes an error about an argument of a function; `of` is the function: `rimg.fs.read`.
pub fn argument_error(of: &str, message: impl std::fmt::Display) -> mlua::Error {
    lua_error(Error::new(Kind::Option, format!("{of}: {message}")))
}

/// Lets `?` pass our results on to Lua.
pub trait IntoLuaResult<T> {
    /// Wraps the error with [`lua_error`].
    fn into_lua_result(self) -> mlua::Result<T>;
}

impl<T> IntoLuaResult<T> for crate::error::Result<T> {
    fn into_lua_result(self) -> mlua::Result<T> {
        self.map_err(lua_error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_our_error_behind_lua() {
        let lua = mlua::Lua::new();
        let fail = lua
            .create_function(|_, ()| -> mlua::Result<()> { Err(lua_error(Error::new(Kind::Checksum, "wrong bytes"))) });
        lua.globals().set("fail", fail.unwrap()).unwrap();
        for chunk in ["fail()", "local ok, e = pcall(fail); error(e)", "local f <const> = fail; return f()"] {
            let error = mlua::ErrorContext::context(lua.load(chunk).exec().unwrap_err(), "while testing");
            assert_eq!(find(&error).map(|e| (e.kind(), e.message())), Some((Kind::Checksum, "wrong bytes")), "{chunk}");
        }
        assert!(find(&lua.load("error 'x'").exec().unwrap_err()).is_none());
    }
}
