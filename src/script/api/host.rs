//! What scripts ask of this host: everything of DESIGN's "Host" line, and the small functions about where and when a
//! run runs.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use jiff::Timestamp;
use mlua::{Lua, LuaString, Table};
use serde::Deserialize;

use super::current::current;
use super::names::Names;
use crate::engine::options::fields;
use crate::error::{Error, Kind};
use crate::host::process;
use crate::script::error::lua_error;
use crate::script::value::{bytes, decode_table, from_lua, path, string, to_json};

/// Adds everything about the host to the `rimg` table.
pub fn register(lua: &Lua, rimg: &Table) -> mlua::Result<()> {
    lua.set_app_data(RunStart(Timestamp::now()));
    Names::of(lua, rimg)
        .value("base64", super::base64::module(lua)?)?
        .value("fs", super::fs::module(lua)?)?
        .value("hash", super::hash::module(lua)?)?
        .value("http", super::http::module(lua)?)?
        .value("json", super::json::module(lua)?)?
        .value("log", super::log::module(lua)?)?
        .value("toml", super::toml::module(lua)?)?
        .value("yaml", super::yaml::module(lua)?)?
        .async_function("download", super::download::download)?
        .async_function("exec", super::exec::exec)?
        .function("env", env)?
        .function("fail", fail)?
        .async_function("git", super::git::git)?
        .function("isotime", isotime)?
        .function("module_path", module_path)?
        .function("template", template)?
        .function("timestamp", timestamp)?
        .function("uuid", uuid)?
        .function("which", which)?
        .done()?;
    Ok(())
}

/// Lists the option structs of these functions, each with the LuaLS class that documents it.
pub fn classes() -> Vec<(&'static str, &'static [&'static str])> {
    vec![
        ("rimg.DecodeOptions", fields::<super::codec::DecodeOptions>()),
        ("rimg.ExecOptions", fields::<super::exec::ExecOptions>()),
        ("rimg.FailOptions", fields::<FailOptions>()),
        ("rimg.FetchOptions", fields::<super::download::DownloadOptions>()),
        ("rimg.FsWriteOptions", fields::<super::fs::WriteOptions>()),
        ("rimg.HttpOptions", fields::<super::http::HttpOptions>()),
        ("rimg.JsonEncodeOptions", fields::<super::json::EncodeOptions>()),
    ]
}

/// Adds a folder to those in which `require` looks.
fn module_path(lua: &Lua, folder: mlua::Value) -> mlua::Result<()> {
    let state = crate::script::state::of(lua)?;
    let folder = state.settings.resolve(path("rimg.module_path", "folder", &folder)?);
    if !folder.is_dir() {
        let error = Error::new(Kind::Option, format!("rimg.module_path: there is no folder {}", folder.display()));
        return Err(lua_error(error.hint("relative paths start at the script's folder")));
    }
    let mut folders = state.modules.path.borrow_mut();
    if !folders.contains(&folder) {
        folders.push(folder);
    }
    Ok(())
}

/// When this run began: what `rimg.timestamp` says all over it.
struct RunStart(Timestamp);

fn run_start(lua: &Lua) -> Timestamp {
    lua.app_data_ref::<RunStart>().map_or_else(Timestamp::now, |start| start.0)
}

fn env(lua: &Lua, (name, default): (mlua::Value, mlua::Value)) -> mlua::Result<mlua::Value> {
    let name = string("rimg.env", "name", &name)?;
    if name.is_empty() || name.contains(['=', '\0']) {
        let message = format!("rimg.env: {name:?} cannot be the name of an environment variable");
        return Err(lua_error(Error::new(Kind::Option, message)));
    }
    match std::env::var_os(&name) {
        Some(value) => Ok(mlua::Value::String(lua.create_string(value.as_bytes())?)),
        None => Ok(default),
    }
}

/// Options of `rimg.fail`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FailOptions {
    /// What to do about it; several are shown one below the other.
    pub hint: Vec<String>,
}

fn fail(_: &Lua, (message, options): (mlua::Value, mlua::Value)) -> mlua::Result<()> {
    let message = bytes("rimg.fail", "message", &message)?;
    let options: FailOptions = decode_table("rimg.fail", &options)?;
    let error = Error::new(Kind::Script, String::from_utf8_lossy(&message)).field("given_up", true);
    Err(lua_error(options.hint.into_iter().fold(error, Error::hint)))
}

/// Gives a value to the script that is another one in each run, so that it can be said why what has it in it runs each time.
fn volatile(lua: &Lua, value: impl ToString, source: &'static str) -> String {
    let value = value.to_string();
    if let Some(replay) = crate::script::state::of(lua).ok().and_then(|state| state.main.replay.clone()) {
        replay.note_volatile(value.clone(), source);
    }
    value
}

fn timestamp(lua: &Lua, (): ()) -> mlua::Result<i64> {
    let seconds = run_start(lua).as_second();
    volatile(lua, seconds, "rimg.timestamp()");
    Ok(seconds)
}

fn uuid(lua: &Lua, (): ()) -> mlua::Result<String> {
    Ok(volatile(lua, uuid::Uuid::new_v4(), "rimg.uuid()"))
}

fn isotime(lua: &Lua, format: mlua::Value) -> mlua::Result<String> {
    let start = run_start(lua);
    if format.is_nil() {
        return Ok(volatile(lua, format!("{start:.0}"), "rimg.isotime()"));
    }
    let format = string("rimg.isotime", "format", &format)?;
    let pattern = if format.contains('%') { format.clone() } else { strftime_of_go(&format) };
    let formatted = jiff::fmt::strtime::format(&pattern, &start.to_zoned(jiff::tz::TimeZone::UTC));
    formatted.map(|text| volatile(lua, text, "rimg.isotime()")).map_err(|e| {
        lua_error(
            Error::new(Kind::Option, format!("rimg.isotime: the format {format:?}: {e}"))
                .hint("write it as for strftime, \"%Y-%m-%d\", or as Packer's Go layout, \"2006-01-02\""),
        )
    })
}

/// Go's reference time and what each of its parts is to strftime; a longer name stands before one it begins with.
const GO_LAYOUT: [(&str, &str); 28] = [
    ("2006", "%Y"),
    ("January", "%B"),
    ("Monday", "%A"),
    ("Jan", "%b"),
    ("Mon", "%a"),
    ("MST", "%Z"),
    ("-07:00", "%:z"),
    ("Z07:00", "Z"),
    ("-0700", "%z"),
    ("Z0700", "Z"),
    (".000000000", ".%9f"),
    (".000000", ".%6f"),
    (".000", ".%3f"),
    ("002", "%j"),
    ("01", "%m"),
    ("02", "%d"),
    ("_2", "%e"),
    ("15", "%H"),
    ("03", "%I"),
    ("04", "%M"),
    ("05", "%S"),
    ("06", "%y"),
    ("PM", "%p"),
    ("pm", "%P"),
    ("1", "%-m"),
    ("2", "%-d"),
    ("3", "%-I"),
    ("4", "%-M"),
];

fn strftime_of_go(layout: &str) -> String {
    let mut pattern = String::new();
    let mut rest = layout;
    while !rest.is_empty() {
        let part = GO_LAYOUT.iter().find_map(|(go, ours)| rest.strip_prefix(go).map(|after| (after, *ours)));
        if let Some((after, ours)) = part {
            pattern.push_str(ours);
            rest = after;
        } else {
            let mut chars = rest.chars();
            pattern.extend(chars.next());
            rest = chars.as_str();
        }
    }
    pattern
}

fn template(_: &Lua, (text, vars): (mlua::Value, mlua::Value)) -> mlua::Result<String> {
    let text = string("rimg.template", "text", &text)?;
    let vars = match &vars {
        mlua::Value::Nil => serde_json::Value::Object(serde_json::Map::new()),
        vars => to_json(&from_lua(vars))
            .map_err(|what| lua_error(Error::new(Kind::Script, format!("rimg.template: the variables: {what}"))))?,
    };
    crate::engine::template::render("rimg.template", &text, &vars).map_err(lua_error)
}

fn which(lua: &Lua, name: mlua::Value) -> mlua::Result<Option<LuaString>> {
    let name = path("rimg.which", "name", &name)?;
    // A name with a slash is a path, and those start at the script's folder.
    let name = if name.components().count() > 1 { current(lua, "rimg.which")?.settings.resolve(&name) } else { name };
    let found = process::which(name.as_os_str());
    found.map(|found| lua.create_string(OsString::from(found).into_vec())).transpose()
}

#[cfg(test)]
mod tests {
    use super::super::testing::World;
    use super::*;

    fn world() -> World {
        World::new(register)
    }

    #[test]
    fn the_time_is_the_same_all_over_a_run() {
        world().ok(r#"
            local t = rimg.timestamp()
            assert(math.type(t) == "integer" and t > 1700000000 and rimg.timestamp() == t)
            assert(rimg.isotime():match("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ$"))
            assert(rimg.isotime("%Y%m%d") == rimg.isotime("20060102"))
            assert(rimg.isotime("%s") == tostring(t))
            assert(#rimg.uuid() == 36 and rimg.uuid() ~= rimg.uuid())
        "#);
        assert!(world().err("rimg.isotime('%!')").message().contains("the format \"%!\""));
    }

    #[test]
    fn everything_is_annotated_and_what_is_annotated_exists() {
        let text: String = ["host", "fs", "http", "data"]
            .map(|name| format!("{}/lua/types/{name}.lua", env!("CARGO_MANIFEST_DIR")))
            .map(|path| std::fs::read_to_string(path).unwrap())
            .concat();
        let annotated = text.lines().filter_map(|line| line.strip_prefix("function rimg.")?.split('(').next());
        let mut annotated: Vec<String> = annotated.map(str::to_owned).collect();
        let mut live = Vec::new();
        let world = world();
        let rimg: Table = world.lua.globals().get("rimg").unwrap();
        for (name, value) in rimg.pairs::<String, mlua::Value>().map(Result::unwrap) {
            match value {
                mlua::Value::Table(module) => {
                    let names = module.pairs::<String, mlua::Value>().map(Result::unwrap);
                    live.extend(names.filter(|(_, v)| v.is_function()).map(|(inner, _)| format!("{name}.{inner}")));
                }
                _ => live.push(name),
            }
        }
        annotated.sort();
        live.sort();
        assert_eq!(annotated, live);
        for (class, options) in classes() {
            let lines = text.lines().skip_while(|line| *line != format!("---@class {class}")).skip(1);
            let fields = lines.map_while(|line| line.strip_prefix("---@field ")?.split(' ').next());
            assert_eq!(fields.collect::<Vec<_>>(), options, "{class}");
        }
    }

    #[test]
    fn go_layouts_are_read() {
        assert_eq!(strftime_of_go("2006-01-02T15:04:05Z07:00"), "%Y-%m-%dT%H:%M:%SZ");
        assert_eq!(strftime_of_go("Mon Jan _2 15:04:05 2006"), "%a %b %e %H:%M:%S %Y");
        assert_eq!(strftime_of_go("20060102-150405"), "%Y%m%d-%H%M%S");
    }

    #[test]
    fn templates_fail_on_a_missing_name() {
        let world = world();
        world.ok(r#"assert(rimg.template("{% for u in users %}{{ u }};{% endfor %}\n", { users = { "a", "b" } }) == "a;b;\n")"#);
        let error = world.err(r#"return rimg.template("x\n{{ hots }}", { host = "web" })"#);
        assert!(error.message().starts_with("rimg.template: line 2: undefined value"), "{error}");
        assert_eq!(error.hints()[0], "the variables given are: host");
        let error = world.err("return rimg.template('x', { f = print })");
        assert_eq!(error.message(), "rimg.template: the variables: .f: a function cannot be encoded");
    }

    #[test]
    fn finds_programs_and_variables() {
        let world = world();
        let program = world.script_dir().join("tool");
        std::fs::write(&program, "#!/bin/sh\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&program, mode).unwrap();
        world.ok(r#"
            assert(rimg.which("sh"):match("/sh$"))
            assert(rimg.which("no-such-program-anywhere") == nil)
            assert(rimg.which("./tool"):match("/tool$") and rimg.which("tool") == nil)
            assert(rimg.env("PATH") and rimg.env("RIMG_TEST_NOT_SET") == nil)
            assert(rimg.env("RIMG_TEST_NOT_SET", 7) == 7)
        "#);
        assert!(world.err("rimg.env('A=B')").message().contains("cannot be the name"));
    }

    #[test]
    fn fail_raises_with_hints() {
        let error = world().err("rimg.fail('no luck', { hint = { 'try again', 'or not' } })");
        assert_eq!((error.kind(), error.message()), (Kind::Script, "no luck"));
        assert_eq!(error.hints(), ["try again", "or not"]);
        assert_eq!(world().err("rimg.json.decod('x')").hints(), ["did you mean `decode`?"]);
    }
}
