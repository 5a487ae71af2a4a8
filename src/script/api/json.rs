//! `rimg.json`: text to data and back.

use mlua::{Lua, Table};
use serde::Deserialize;

use super::codec::{DecodeOptions, decoded, encodable, syntax_error};
use super::names::Names;
use crate::script::value::{decode_table, mark_list, string, wrong_type};

/// Makes the table of `rimg.json`.
pub fn module(lua: &Lua) -> mlua::Result<Table> {
    Names::new(lua, "rimg.json")?
        .function("decode", decode)?
        .function("encode", encode)?
        .function("array", array)?
        .value("null", mlua::Value::NULL)?
        .done()
}

/// Options of `rimg.json.encode`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EncodeOptions {
    /// On several lines, indented by two spaces; default false.
    pub pretty: bool,
}

fn decode(lua: &Lua, (text, options): (mlua::Value, mlua::Value)) -> mlua::Result<mlua::Value> {
    let text = string("rimg.json.decode", "text", &text)?;
    let options: DecodeOptions = decode_table("rimg.json.decode", &options)?;
    let json: serde_json::Value = serde_json::from_str(&text).map_err(|e| {
        let what = e.to_string();
        // The library says the place at the end; we say it first, as for the other formats.
        let what = what.rsplit_once(" at line").map_or(what.as_str(), |(what, _)| what);
        syntax_error("rimg.json.decode", &text, Some((e.line(), e.column())), what)
    })?;
    decoded(lua, json.into(), &options)
}

fn encode(_: &Lua, (value, options): (mlua::Value, mlua::Value)) -> mlua::Result<String> {
    let options: EncodeOptions = decode_table("rimg.json.encode", &options)?;
    let json = encodable("rimg.json.encode", &value)?;
    Ok(if options.pretty { format!("{json:#}") } else { json.to_string() })
}

fn array(lua: &Lua, table: mlua::Value) -> mlua::Result<Table> {
    let table = match table {
        mlua::Value::Nil => lua.create_table()?,
        mlua::Value::Table(table) => table,
        other => return Err(wrong_type("rimg.json.array", "list", "a table", &other)),
    };
    mark_list(lua, &table)?;
    Ok(table)
}

#[cfg(test)]
pub mod tests {
    use proptest::prelude::*;

    use super::super::testing::World;
    use crate::error::Kind;

    fn world() -> World {
        World::new(|lua, rimg| rimg.set("json", super::module(lua)?))
    }

    #[test]
    fn decodes_with_integers_nulls_and_empty_lists_kept() {
        world().ok(r#"
            local t = rimg.json.decode [[{"n": 12, "f": 1.5, "big": 9007199254740993, "l": [], "m": {}, "x": null}]]
            assert(math.type(t.n) == "integer" and math.type(t.f) == "float" and t.big == 9007199254740993)
            assert(t.x == rimg.json.null)
            assert(rimg.json.encode(t.l) == "[]" and rimg.json.encode(t.m) == "{}")
            assert(rimg.json.encode(t) == '{"big":9007199254740993,"f":1.5,"l":[],"m":{},"n":12,"x":null}')
            assert(rimg.json.decode('{"x": null}', { drop_nulls = true }).x == nil)
            assert(rimg.json.encode({}) == "{}" and rimg.json.encode(rimg.json.array {}) == "[]")
            assert(rimg.json.encode({ 1, "a", { b = true } }) == '[1,"a",{"b":true}]')
            assert(rimg.json.encode({ a = { 1 } }, { pretty = true }) == '{\n  "a": [\n    1\n  ]\n}')
            assert(rimg.json.encode({ [80] = "http" }) == '{"80":"http"}')
        "#);
    }

    #[test]
    fn errors_name_the_place() {
        let world = world();
        let error = world.err(r#"return rimg.json.decode('{\n  "a": tru,\n}')"#);
        assert_eq!(error.kind(), Kind::Script);
        assert!(error.message().starts_with("rimg.json.decode: line 2, column "), "{error}");
        assert!(error.message().contains(r#""a": tru"#), "{error}");
        let error = world.err("return rimg.json.encode({ a = { print } })");
        assert_eq!(error.message(), "rimg.json.encode: .a[1]: a function cannot be encoded");
        let error = world.err("local t = {}; t.t = t; return rimg.json.encode(t)");
        assert!(error.message().contains("contains itself"), "{error}");
        let error = world.err("return rimg.json.decode(nil)");
        assert_eq!(error.message(), "rimg.json.decode: text: expected a string, found nil");
        let error = world.err("return rimg.json.encode({}, { prety = true })");
        assert_eq!(error.hints(), ["did you mean `pretty`?"]);
    }

    /// Any JSON there is, with names in the order an encoder gives them.
    pub fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            (-1e9f64..1e9).prop_map(Into::into),
            "\\PC{0,8}".prop_map(Into::into),
        ];
        leaf.prop_recursive(3, 24, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
                prop::collection::btree_map("[a-zA-Z_ .:#-]{1,6}", inner, 0..5)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn json_round_trips(json in any_json()) {
            let lua = mlua::Lua::new();
            let module = super::module(&lua).unwrap();
            let text = json.to_string();
            let round: mlua::Function = lua.load("local j = ...; return function(t) return j.encode(j.decode(t)) end")
                .call(module).unwrap();
            prop_assert_eq!(round.call::<String>(text.clone()).unwrap(), text);
        }
    }
}
