//! Lua values as the engine's data and back.
//!
//! A table whose keys are exactly 1..n is a list. Any other table is a map in a stable order: numbers first and by size,
//! then names by their bytes; a number becomes its digits, so `{ "echo hi", sudo = true }` is `"1"` and `"sudo"`. An
//! empty table is a map, unless it is marked as a list (as decoded empty lists are).

use std::path::PathBuf;

use mlua::Lua;
use serde::de::DeserializeOwned;

use super::callbacks;
use super::error::{argument_error, lua_error};
use crate::engine::Value;

/// How deep tables may be nested.
const MAX_DEPTH: usize = 128;

/// The metamethod with which a userdata says what it is as an option: it is given the userdata and returns plain data.
pub const VALUE_METHOD: &str = "__rimg_value";

/// Converts what Lua has to what options and encoders take. What neither can hold becomes [`Value::Other`].
pub fn from_lua(value: &mlua::Value) -> Value {
    convert(value, &mut Vec::new())
}

fn convert(value: &mlua::Value, above: &mut Vec<*const std::ffi::c_void>) -> Value {
    match value {
        mlua::Value::Nil => Value::Nil,
        mlua::Value::LightUserData(pointer) if pointer.0.is_null() => Value::Nil,
        mlua::Value::Boolean(b) => Value::Bool(*b),
        mlua::Value::Integer(n) => Value::Int(*n),
        mlua::Value::Number(n) => Value::Float(*n),
        mlua::Value::String(s) => match s.to_str() {
            Ok(text) => Value::Str(text.to_owned()),
            Err(_) => Value::Bytes(s.as_bytes().to_vec()),
        },
        mlua::Value::Table(table) => {
            let pointer = table.to_pointer();
            if above.contains(&pointer) {
                return Value::Other("table that contains itself");
            }
            if above.len() >= MAX_DEPTH {
                return Value::Other("table that is nested too deeply");
            }
            above.push(pointer);
            let converted = convert_table(table, above);
            above.pop();
            converted
        }
        mlua::Value::UserData(userdata) => {
            let hook = userdata.metatable().and_then(|meta| meta.get::<Option<mlua::Function>>(VALUE_METHOD));
            match hook {
                Ok(Some(hook)) if above.len() < MAX_DEPTH => match hook.call::<mlua::Value>(userdata.clone()) {
                    // A hook that answers with userdata again would never end.
                    Ok(mlua::Value::UserData(_)) | Err(_) => Value::Other("userdata"),
                    Ok(plain) => convert(&plain, above),
                },
                _ => Value::Other("userdata"),
            }
        }
        mlua::Value::Function(function) => callbacks::make(function).map_or(Value::Other("function"), Value::Function),
        mlua::Value::Thread(_) => Value::Other("thread"),
        mlua::Value::Error(_) => Value::Other("error"),
        _ => Value::Other("userdata"),
    }
}

/// A key of a table, in the order maps are given.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Number(i64),
    Name(String),
}

fn convert_table(table: &mlua::Table, above: &mut Vec<*const std::ffi::c_void>) -> Value {
    let mut entries = Vec::new();
    for pair in table.pairs::<mlua::Value, mlua::Value>() {
        let Ok((key, value)) = pair else { return Value::Other("table that cannot be read") };
        let key = match &key {
            mlua::Value::Integer(n) => Key::Number(*n),
            mlua::Value::String(s) => Key::Name(s.to_string_lossy()),
            mlua::Value::Number(n) => Key::Name(n.to_string()),
            mlua::Value::Boolean(b) => Key::Name(b.to_string()),
            other => {
                entries.push((Key::Name(format!("[{}]", other.type_name())), Value::Other("key of a strange type")));
                continue;
            }
        };
        entries.push((key, convert(&value, above)));
    }
    if entries.is_empty() {
        return if is_marked_list(table) { Value::List(Vec::new()) } else { Value::Map(Vec::new()) };
    }
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    let is_list = (1..).zip(&entries).all(|(n, (key, _))| *key == Key::Number(n));
    if is_list {
        return Value::List(entries.into_iter().map(|(_, value)| value).collect());
    }
    let name = |key| match key {
        Key::Number(n) => n.to_string(),
        Key::Name(name) => name,
    };
    Value::Map(entries.into_iter().map(|(key, value)| (name(key), value)).collect())
}

/// The mark of a list, which makes a difference for an empty one only: `[]`, not `{}`.
const LIST_MARK: &str = "rimg.list";

fn list_metatable(lua: &Lua) -> mlua::Result<mlua::Table> {
    if let Ok(metatable) = lua.named_registry_value::<mlua::Table>(LIST_MARK) {
        return Ok(metatable);
    }
    let metatable = lua.create_table()?;
    metatable.set("__name", LIST_MARK)?;
    lua.set_named_registry_value(LIST_MARK, &metatable)?;
    Ok(metatable)
}

/// Marks a table as a list, so that it is one even when it is empty.
pub fn mark_list(lua: &Lua, table: &mlua::Table) -> mlua::Result<()> {
    table.set_metatable(Some(list_metatable(lua)?))
}

fn is_marked_list(table: &mlua::Table) -> bool {
    table.metatable().is_some_and(|meta| meta.raw_get::<String>("__name").is_ok_and(|name| name == LIST_MARK))
}

/// What a null inside of data becomes in Lua.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Null {
    /// `rimg.json.null`, so that nothing is lost.
    Kept,
    /// `nil`: a name with it is not there.
    Dropped,
}

/// Converts data to Lua; lists are marked as such, and a null is `nil`.
pub fn to_lua(lua: &Lua, value: &Value) -> mlua::Result<mlua::Value> {
    to_lua_with(lua, value, Null::Dropped)
}

/// Converts data to Lua, with a choice about nulls in lists and maps.
pub fn to_lua_with(lua: &Lua, value: &Value, null: Null) -> mlua::Result<mlua::Value> {
    Ok(match value {
        Value::Nil if null == Null::Kept => mlua::Value::NULL,
        Value::Nil => mlua::Value::Nil,
        Value::Bool(b) => mlua::Value::Boolean(*b),
        Value::Int(n) => mlua::Value::Integer(*n),
        Value::Float(n) => mlua::Value::Number(*n),
        Value::Str(s) => mlua::Value::String(lua.create_string(s)?),
        Value::Bytes(b) => mlua::Value::String(lua.create_string(b)?),
        Value::List(items) => {
            let table = lua.create_table_with_capacity(items.len(), 0)?;
            for (index, item) in (1i64..).zip(items) {
                table.raw_set(index, to_lua_with(lua, item, null)?)?;
            }
            mark_list(lua, &table)?;
            mlua::Value::Table(table)
        }
        Value::Map(entries) => {
            let table = lua.create_table_with_capacity(0, entries.len())?;
            for (name, item) in entries {
                table.raw_set(name.as_str(), to_lua_with(lua, item, null)?)?;
            }
            mlua::Value::Table(table)
        }
        Value::Function(_) => {
            let message = "a function that was an option cannot be given back to Lua";
            return Err(lua_error(crate::error::Error::new(crate::error::Kind::Internal, message)));
        }
        Value::Other(name) => {
            let message = format!("a {name} cannot be given to Lua");
            return Err(lua_error(crate::error::Error::new(crate::error::Kind::Internal, message)));
        }
    })
}

/// Converts JSON (a recorded result, an error's field) to Lua; a null is `nil`.
pub fn json_to_lua(lua: &Lua, json: &serde_json::Value) -> mlua::Result<mlua::Value> {
    to_lua(lua, &Value::from(json.clone()))
}

/// Converts data to JSON, or says at which path there is something that JSON cannot hold.
pub fn to_json(value: &Value) -> Result<serde_json::Value, String> {
    let at = |path: &str, error: String| match error.split_once(": ") {
        Some((below, what)) if below.starts_with(['.', '[']) => format!("{path}{below}: {what}"),
        _ => format!("{path}: {error}"),
    };
    Ok(match value {
        Value::Nil => serde_json::Value::Null,
        Value::Bool(b) => (*b).into(),
        Value::Int(n) => (*n).into(),
        Value::Float(n) => serde_json::Number::from_f64(*n)
            .map(serde_json::Value::Number)
            .ok_or_else(|| format!("the number {n} has no form in this format"))?,
        Value::Str(s) => s.as_str().into(),
        Value::Bytes(_) => return Err("a string that is not UTF-8 (encode it first, with rimg.base64.encode)".into()),
        Value::List(items) => {
            let items = (1..).zip(items).map(|(n, item)| to_json(item).map_err(|e| at(&format!("[{n}]"), e)));
            serde_json::Value::Array(items.collect::<Result<_, _>>()?)
        }
        Value::Map(entries) => {
            let entries = entries.iter().map(|(name, item)| {
                Ok::<_, String>((name.clone(), to_json(item).map_err(|e| at(&format!(".{name}"), e))?))
            });
            serde_json::Value::Object(entries.collect::<Result<_, _>>()?)
        }
        Value::Function(_) => return Err("a function cannot be encoded".into()),
        Value::Other(name) => return Err(format!("a {name} cannot be encoded")),
    })
}

/// Decodes an option table from Lua; `of` is whose options they are: `rimg.qemu`.
pub fn decode_table<T: DeserializeOwned>(of: &str, value: &mlua::Value) -> mlua::Result<T> {
    crate::engine::options::decode(of, from_lua(value)).map_err(lua_error)
}

/// Takes a string argument: `what` is its name in the documentation.
pub fn string(of: &str, what: &str, value: &mlua::Value) -> mlua::Result<String> {
    match value {
        mlua::Value::String(s) => match s.to_str() {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(argument_error(of, format_args!("{what} is a string that is not UTF-8"))),
        },
        other => Err(wrong_type(of, what, "a string", other)),
    }
}

/// Takes a string argument that may be any bytes. A number is taken as its digits, as Lua's own functions do.
pub fn bytes(of: &str, what: &str, value: &mlua::Value) -> mlua::Result<Vec<u8>> {
    match value {
        mlua::Value::String(s) => Ok(s.as_bytes().to_vec()),
        mlua::Value::Integer(n) => Ok(n.to_string().into_bytes()),
        mlua::Value::Number(n) => Ok(n.to_string().into_bytes()),
        other => Err(wrong_type(of, what, "a string", other)),
    }
}

/// Takes a path argument, relative as the script wrote it; see `Settings::resolve`.
pub fn path(of: &str, what: &str, value: &mlua::Value) -> mlua::Result<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    match value {
        mlua::Value::String(s) if s.as_bytes().is_empty() => {
            Err(argument_error(of, format_args!("{what} is an empty string, expected a path")))
        }
        mlua::Value::String(s) if s.as_bytes().contains(&0) => {
            Err(argument_error(of, format_args!("{what} has a zero byte in it, which no path can have")))
        }
        mlua::Value::String(s) => Ok(std::ffi::OsString::from_vec(s.as_bytes().to_vec()).into()),
        other => Err(wrong_type(of, what, "a path (string)", other)),
    }
}

/// Makes the error for an argument of the wrong type.
pub fn wrong_type(of: &str, what: &str, expected: &str, found: &mlua::Value) -> mlua::Error {
    let found = match found {
        mlua::Value::Nil => "nil".to_owned(),
        other => format!("a {}", other.type_name()),
    };
    argument_error(of, format_args!("{what}: expected {expected}, found {found}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eval(chunk: &str) -> Value {
        let lua = Lua::new();
        from_lua(&lua.load(chunk).eval().unwrap())
    }

    fn s(text: &str) -> Value {
        Value::Str(text.into())
    }

    #[test]
    fn tables_are_lists_or_maps_in_a_stable_order() {
        assert_eq!(eval("return { 'a', 'b' }"), Value::List(vec![s("a"), s("b")]));
        assert_eq!(eval("return {}"), Value::Map(vec![]));
        let mixed = eval("return { 'echo hi', sudo = true, args = { 1, 2.5 }, [10] = 'x', [2] = 'y' }");
        let Value::Map(entries) = mixed else { panic!("{mixed:?}") };
        let names: Vec<_> = entries.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["1", "2", "10", "args", "sudo"]);
        assert_eq!(entries[3].1, Value::List(vec![Value::Int(1), Value::Float(2.5)]));
        assert_eq!(
            eval("return { [1] = 'a', [3] = 'c' }"),
            Value::Map(vec![("1".into(), s("a")), ("3".into(), s("c"))])
        );
    }

    #[test]
    fn what_cannot_be_held_is_named_and_cycles_end() {
        assert_eq!(eval("return print"), Value::Other("function"));
        assert_eq!(eval("return '\\xff'"), Value::Bytes(vec![0xff]));
        let Value::Map(entries) = eval("local t = { a = {} }; t.a.b = t; return t") else { panic!() };
        assert_eq!(entries[0].1, Value::Map(vec![("b".into(), Value::Other("table that contains itself"))]));
        // Twice the same table beside each other is no cycle.
        assert!(matches!(eval("local t = { 1 }; return { t, t }"), Value::List(items) if items[0] == items[1]));
        eval("local t = {}; for _ = 1, 100000 do t = { t } end; return t");
        assert!(matches!(eval("return { [{}] = 1 }"), Value::Map(e) if matches!(e[0].1, Value::Other(_))));
    }

    #[test]
    fn userdata_says_what_it_is() {
        struct Thing;
        impl mlua::UserData for Thing {
            fn add_methods<M: mlua::UserDataMethods<Self>>(methods: &mut M) {
                methods.add_meta_method(VALUE_METHOD, |lua, _, ()| {
                    let table = lua.create_table()?;
                    table.set("artifact", "a.qcow2")?;
                    Ok(table)
                });
            }
        }
        let lua = Lua::new();
        let thing = mlua::Value::UserData(lua.create_userdata(Thing).unwrap());
        assert_eq!(from_lua(&thing), Value::Map(vec![("artifact".into(), s("a.qcow2"))]));
    }

    #[test]
    fn there_and_back() {
        let lua = Lua::new();
        let value = Value::Map(vec![
            ("a".into(), Value::List(vec![])),
            ("b".into(), Value::List(vec![Value::Int(1), Value::Nil, Value::Float(0.5)])),
            ("c".into(), Value::Bytes(vec![0xff])),
        ]);
        assert_eq!(from_lua(&to_lua_with(&lua, &value, Null::Kept).unwrap()), value);
    }

    #[test]
    fn json_errors_name_the_path() {
        let error = to_json(&eval("return { a = { 1, { b = print } } }")).unwrap_err();
        assert_eq!(error, ".a[2].b: a function cannot be encoded");
        assert!(to_json(&eval("return { a = 0/0 }")).unwrap_err().starts_with(".a: the number"));
    }

    #[test]
    fn options_are_decoded_with_their_path() {
        #[derive(Debug, Default, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct Options {
            cpus: Option<u32>,
        }
        let lua = Lua::new();
        let decode = |chunk: &str| decode_table::<Options>("rimg.x", &lua.load(chunk).eval().unwrap());
        assert_eq!(decode("return { cpus = 2.0 }").unwrap().cpus, Some(2));
        let error = decode("return { cpus = 'two' }").unwrap_err();
        let error = super::super::error::find(&error).unwrap();
        assert_eq!(error.message(), "rimg.x: option `cpus`: expected a whole number, found the string \"two\"");
    }
}
