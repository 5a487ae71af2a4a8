//! What the data formats share.

use mlua::Lua;
use serde::Deserialize;

use crate::engine::Value;
use crate::error::{Error, Kind};
use crate::script::error::lua_error;
use crate::script::value::{Null, from_lua, to_json, to_lua_with};

/// Options of `rimg.json.decode` and `rimg.yaml.decode`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DecodeOptions {
    /// Whether a null is `nil` in place of `rimg.json.null`; default false.
    pub drop_nulls: bool,
}

/// Gives decoded data to Lua.
pub fn decoded(lua: &Lua, value: Value, options: &DecodeOptions) -> mlua::Result<mlua::Value> {
    to_lua_with(lua, &value, if options.drop_nulls { Null::Dropped } else { Null::Kept })
}

/// Takes data that is to be encoded from Lua, or says which part of it cannot be.
pub fn encodable(of: &str, value: &mlua::Value) -> mlua::Result<serde_json::Value> {
    to_json(&from_lua(value)).map_err(|what| lua_error(Error::new(Kind::Script, format!("{of}: {what}"))))
}

/// Makes the error for text that is not in its format; the place counts lines and columns from 1.
pub fn syntax_error(of: &str, text: &str, place: Option<(usize, usize)>, what: &str) -> mlua::Error {
    let Some((line, column)) = place else {
        return lua_error(Error::new(Kind::Script, format!("{of}: {what}")));
    };
    let mut message = format!("{of}: line {line}, column {column}: {what}");
    let source = line.checked_sub(1).and_then(|n| text.lines().nth(n)).map(str::trim).unwrap_or_default();
    if !source.is_empty() {
        let short: String = source.chars().take(80).collect();
        message.push_str(&format!(" in `{short}`"));
    }
    lua_error(Error::new(Kind::Script, message).field("line", line).field("column", column))
}

/// Returns line and column, from 1, of a byte's place in a text.
pub fn place_of(text: &str, index: usize) -> (usize, usize) {
    let before = text.get(..index).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
    (before.matches('\n').count() + 1, column)
}
