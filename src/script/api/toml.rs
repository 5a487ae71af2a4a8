//! `rimg.toml`: text to data and back.

use mlua::{Lua, Table};

use super::codec::{DecodeOptions, decoded, encodable, place_of, syntax_error};
use super::names::Names;
use crate::engine::Value;
use crate::error::{Error, Kind};
use crate::script::error::lua_error;
use crate::script::value::string;

/// Makes the table of `rimg.toml`.
pub fn module(lua: &Lua) -> mlua::Result<Table> {
    Names::new(lua, "rimg.toml")?.function("decode", decode)?.function("encode", encode)?.done()
}

fn decode(lua: &Lua, text: mlua::Value) -> mlua::Result<mlua::Value> {
    let text = string("rimg.toml.decode", "text", &text)?;
    let table: toml::Table = toml::from_str(&text).map_err(|e| {
        let place = e.span().map(|span| place_of(&text, span.start));
        syntax_error("rimg.toml.decode", &text, place, e.message())
    })?;
    decoded(lua, from_toml(toml::Value::Table(table)), &DecodeOptions::default())
}

fn from_toml(value: toml::Value) -> Value {
    match value {
        toml::Value::String(s) => Value::Str(s),
        toml::Value::Integer(n) => Value::Int(n),
        toml::Value::Float(n) => Value::Float(n),
        toml::Value::Boolean(b) => Value::Bool(b),
        // Lua has no type for it.
        toml::Value::Datetime(when) => Value::Str(when.to_string()),
        toml::Value::Array(items) => Value::List(items.into_iter().map(from_toml).collect()),
        toml::Value::Table(table) => Value::Map(table.into_iter().map(|(k, v)| (k, from_toml(v))).collect()),
    }
}

fn encode(_: &Lua, value: mlua::Value) -> mlua::Result<String> {
    let json = encodable("rimg.toml.encode", &value)?;
    let failed = |what: String| lua_error(Error::new(Kind::Script, format!("rimg.toml.encode: {what}")));
    if !json.is_object() {
        return Err(failed("the whole of a TOML text is a table of names, not a list or a single value".into()));
    }
    let table = to_toml(json, String::new()).map_err(failed)?;
    toml::to_string(&table).map_err(|e| failed(e.to_string()))
}

/// Converts to TOML's data, which has no null.
fn to_toml(json: serde_json::Value, path: String) -> Result<toml::Value, String> {
    Ok(match json {
        serde_json::Value::Null => return Err(format!("{path}: TOML has no null")),
        serde_json::Value::Bool(b) => toml::Value::Boolean(b),
        serde_json::Value::Number(n) => match n.as_i64() {
            Some(n) => toml::Value::Integer(n),
            None => toml::Value::Float(n.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(s) => toml::Value::String(s),
        serde_json::Value::Array(items) => {
            let items = (1..).zip(items).map(|(n, item)| to_toml(item, format!("{path}[{n}]")));
            toml::Value::Array(items.collect::<Result<_, _>>()?)
        }
        serde_json::Value::Object(entries) => {
            let entries = entries.into_iter().map(|(name, item)| {
                let value = to_toml(item, format!("{path}.{name}"))?;
                Ok::<_, String>((name, value))
            });
            toml::Value::Table(entries.collect::<Result<_, _>>()?)
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::World;

    fn world() -> World {
        World::new(|lua, rimg| rimg.set("toml", super::module(lua)?))
    }

    #[test]
    fn decodes_and_encodes() {
        world().ok(r#"
            local t = rimg.toml.decode "name = 'x'\nwhen = 2024-05-01T10:00:00Z\n[a]\nn = 1\nf = 1.0\nl = [1, 2]\n"
            assert(t.name == "x" and t.when == "2024-05-01T10:00:00Z" and t.a.n == 1 and #t.a.l == 2)
            assert(math.type(t.a.n) == "integer" and math.type(t.a.f) == "float")
            assert(rimg.toml.encode({ z = { b = true }, a = 1 }) == "a = 1\n\n[z]\nb = true\n")
        "#);
    }

    #[test]
    fn errors_name_the_place() {
        let world = world();
        let error = world.err(r#"return rimg.toml.decode('a = 1\nb = = 2\n')"#);
        assert!(error.message().starts_with("rimg.toml.decode: line 2, column 5: "), "{error}");
        assert!(error.message().ends_with("in `b = = 2`"), "{error}");
        assert!(world.err("return rimg.toml.encode({ 1, 2 })").message().contains("table of names"));
        let error = world.err("return rimg.toml.encode({ a = { 1, print } })");
        assert_eq!(error.message(), "rimg.toml.encode: .a[2]: a function cannot be encoded");
    }

    fn any_value() -> impl Strategy<Value = toml::Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(toml::Value::from),
            any::<i64>().prop_map(toml::Value::from),
            (-1e9f64..1e9).prop_map(toml::Value::from),
            "\\PC{0,8}".prop_map(toml::Value::from),
        ];
        leaf.prop_recursive(3, 24, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(toml::Value::from),
                prop::collection::btree_map("[a-zA-Z_ .:#-]{1,6}", inner, 0..5).prop_map(toml::Value::from),
            ]
        })
    }

    proptest! {
        #[test]
        fn toml_round_trips(table in prop::collection::btree_map("[a-z]{1,6}", any_value(), 0..5)) {
            let lua = mlua::Lua::new();
            let module = super::module(&lua).unwrap();
            let table = toml::Table::from_iter(table);
            let round: mlua::Function = lua.load("local t = ...; return function(s) return t.encode(t.decode(s)) end")
                .call(module).unwrap();
            let text: String = round.call(toml::to_string(&table).unwrap()).unwrap();
            prop_assert_eq!(toml::from_str::<toml::Table>(&text).unwrap(), table);
        }
    }
}
