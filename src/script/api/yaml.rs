//! `rimg.yaml`: text to data and back.

use mlua::{Lua, Table};
use serde::Deserialize as _;
use serde_yaml_ng as yaml;

use super::codec::{DecodeOptions, decoded, encodable, syntax_error};
use super::names::Names;
use crate::engine::Value;
use crate::error::{Error, Kind};
use crate::script::error::lua_error;
use crate::script::value::{decode_table, string};

/// Makes the table of `rimg.yaml`.
pub fn module(lua: &Lua) -> mlua::Result<Table> {
    Names::new(lua, "rimg.yaml")?
        .function("decode", decode)?
        .function("decode_all", decode_all)?
        .function("encode", encode)?
        .done()
}

fn decode(lua: &Lua, (text, options): (mlua::Value, mlua::Value)) -> mlua::Result<mlua::Value> {
    let of = "rimg.yaml.decode";
    let text = string(of, "text", &text)?;
    let options: DecodeOptions = decode_table(of, &options)?;
    let mut documents = parse(of, &text)?;
    if documents.len() > 1 {
        let message = format!("{of}: the text has {} documents, expected one", documents.len());
        return Err(lua_error(Error::new(Kind::Script, message).hint("use rimg.yaml.decode_all")));
    }
    decoded(lua, documents.pop().unwrap_or(Value::Nil), &options)
}

fn decode_all(lua: &Lua, (text, options): (mlua::Value, mlua::Value)) -> mlua::Result<mlua::Value> {
    let of = "rimg.yaml.decode_all";
    let text = string(of, "text", &text)?;
    let options: DecodeOptions = decode_table(of, &options)?;
    decoded(lua, Value::List(parse(of, &text)?), &options)
}

fn parse(of: &str, text: &str) -> mlua::Result<Vec<Value>> {
    let mut documents = Vec::new();
    for document in yaml::Deserializer::from_str(text) {
        let parsed = yaml::Value::deserialize(document).and_then(|mut value| value.apply_merge().map(|()| value));
        let value = parsed.map_err(|e| {
            let place = e.location().map(|at| (at.line(), at.column()));
            let what = e.to_string();
            let what = what.rsplit_once(" at line").map_or(what.as_str(), |(what, _)| what);
            syntax_error(of, text, place, what)
        })?;
        documents.push(from_yaml(value));
    }
    Ok(documents)
}

fn from_yaml(value: yaml::Value) -> Value {
    match value {
        yaml::Value::Null => Value::Nil,
        yaml::Value::Bool(b) => Value::Bool(b),
        yaml::Value::Number(n) => match n.as_i64() {
            Some(n) => Value::Int(n),
            None => Value::Float(n.as_f64().unwrap_or(f64::NAN)),
        },
        yaml::Value::String(s) => Value::Str(s),
        yaml::Value::Sequence(items) => Value::List(items.into_iter().map(from_yaml).collect()),
        yaml::Value::Mapping(map) => Value::Map(map.into_iter().map(|(k, v)| (name(k), from_yaml(v))).collect()),
        // `!Ref x`: the value is what a script can use.
        yaml::Value::Tagged(tagged) => from_yaml(tagged.value),
    }
}

/// A key need not be a string in YAML; in Lua's table of names it is.
fn name(key: yaml::Value) -> String {
    match key {
        yaml::Value::String(s) => s,
        other => yaml::to_string(&other).unwrap_or_default().trim_end().to_owned(),
    }
}

fn encode(_: &Lua, value: mlua::Value) -> mlua::Result<String> {
    let json = encodable("rimg.yaml.encode", &value)?;
    yaml::to_string(&json).map_err(|e| lua_error(Error::new(Kind::Script, "rimg.yaml.encode: failed").caused_by(e)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::World;

    fn world() -> World {
        World::new(|lua, rimg| {
            rimg.set("json", super::super::json::module(lua)?)?;
            rimg.set("yaml", super::module(lua)?)
        })
    }

    #[test]
    fn decodes_and_encodes() {
        world().ok(r#"
            local t = rimg.yaml.decode "base: &b { n: 1 }\nuse:\n  <<: *b\n  80: http\nx: ~\nl: []\nv: 1.5\nyes: 'no'\n"
            assert(t.use.n == 1 and t.use["80"] == "http" and t.x == rimg.json.null and t.v == 1.5 and t.yes == "no")
            assert(rimg.json.encode(t.l) == "[]")
            assert(rimg.yaml.decode("x: ~", { drop_nulls = true }).x == nil)
            assert(rimg.yaml.encode({ a = { 1, "2", "yes" }, b = {} }) == "a:\n- 1\n- '2'\n- yes\nb: {}\n"
                or rimg.yaml.encode({ a = { 1, "2", "yes" }, b = {} }) == "a:\n- 1\n- '2'\n- 'yes'\nb: {}\n")
            local all = rimg.yaml.decode_all "a: 1\n---\na: 2\n"
            assert(#all == 2 and all[2].a == 2)
            assert(rimg.yaml.decode('\35cloud-config\npackages: [vim]\n').packages[1] == "vim")
        "#);
    }

    #[test]
    fn errors_name_the_place() {
        let world = world();
        let error = world.err(r#"return rimg.yaml.decode('a: 1\nb: [1, 2\nc: 3\n')"#);
        assert!(error.message().starts_with("rimg.yaml.decode: line "), "{error}");
        let error = world.err("return rimg.yaml.decode('a: 1\\n---\\nb: 2')");
        assert_eq!(error.hints(), ["use rimg.yaml.decode_all"]);
    }

    proptest! {
        #[test]
        fn yaml_round_trips(json in super::super::json::tests::any_json()) {
            let lua = mlua::Lua::new();
            let module = super::module(&lua).unwrap();
            let text = yaml_of(&json);
            let round: mlua::Function = lua.load("local y = ...; return function(s) return y.encode(y.decode(s)) end")
                .call(module).unwrap();
            prop_assert_eq!(round.call::<String>(text.clone()).unwrap(), text);
        }
    }

    fn yaml_of(json: &serde_json::Value) -> String {
        serde_yaml_ng::to_string(json).unwrap()
    }
}
