//! `rimg.log`: messages of the script's own.

use mlua::{Lua, MultiValue, Table};

use super::current::current;
use super::names::Names;
use crate::engine::Value;
use crate::script::value::{from_lua, to_json};
use crate::ui::Level;

/// Makes the table of `rimg.log`.
pub fn module(lua: &Lua) -> mlua::Result<Table> {
    Names::new(lua, "rimg.log")?
        .function("debug", |lua, values| log(lua, "rimg.log.debug", Level::Debug, &values))?
        .function("info", |lua, values| log(lua, "rimg.log.info", Level::Info, &values))?
        .function("warn", |lua, values| log(lua, "rimg.log.warn", Level::Warn, &values))?
        .function("error", |lua, values| log(lua, "rimg.log.error", Level::Error, &values))?
        .done()
}

fn log(lua: &Lua, of: &str, level: Level, values: &MultiValue) -> mlua::Result<()> {
    let ui = current(lua, of)?.ui;
    let texts = values.iter().map(text).collect::<mlua::Result<Vec<_>>>()?;
    ui.message(level, texts.join(" "));
    Ok(())
}

/// Shows a value as `print` does, and a plain table as its JSON instead of its address.
fn text(value: &mlua::Value) -> mlua::Result<String> {
    match value {
        mlua::Value::Table(table) if table.metatable().is_none_or(|meta| !has_tostring(&meta)) => {
            match from_lua(value) {
                data @ (Value::List(_) | Value::Map(_)) => match to_json(&data) {
                    Ok(json) => Ok(json.to_string()),
                    Err(_) => value.to_string(),
                },
                _ => value.to_string(),
            }
        }
        other => other.to_string(),
    }
}

fn has_tostring(meta: &Table) -> bool {
    meta.raw_get::<mlua::Value>("__tostring").is_ok_and(|value| !value.is_nil())
}

#[cfg(test)]
mod tests {
    use super::super::testing::World;

    #[test]
    fn messages_reach_the_ui_with_their_level() {
        let world = World::new(|lua, rimg| rimg.set("log", super::module(lua)?));
        world.ok("rimg.log.info('built', 3, nil, { a = { 1 } }); rimg.log.warn('careful')");
        let messages = world.messages();
        assert_eq!(messages, ["info built 3 nil {\"a\":[1]}", "warn careful"]);
    }
}
