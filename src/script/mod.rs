//! Lua: the only code that knows mlua.
