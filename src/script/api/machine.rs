//! The machine object: every operation of a machine is a method.

use std::future::Future;
use std::sync::Arc;

use mlua::{Lua, UserData, UserDataFields, UserDataMethods, Value};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::artifact::{ArtifactHandle, Origin};
use crate::console::expect::ExpectOptions;
use crate::engine::options::{OptionTable, long_form};
use crate::engine::{BuildCx, CaptureSpec, Line, OperationOptions, Outcome, Session};
use crate::error::{Error, Result};
use crate::provisioner;
use crate::provisioner::shell::ShellOptions;
use crate::script::error::{IntoLuaResult, argument_error};
use crate::script::runtime::unknown_name;
use crate::script::{state, value};

/// A machine in a script's hands.
pub struct MachineHandle {
    session: Arc<Session>,
    origin: Option<Origin>,
}

impl MachineHandle {
    /// Makes the Lua value of a machine.
    pub fn new(session: Arc<Session>, origin: Option<Origin>) -> MachineHandle {
        MachineHandle { session, origin }
    }
}

/// The options of `vm:shutdown`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShutdownOptions {
    /// The command that shuts it down, in place of the builder's `shutdown_command`.
    pub command: Option<String>,
}

/// The options of what has none of its own.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NoOptions {}

/// What a machine is known by, asked of it when it is wanted: one that does not run may have to be started for it.
const ATTRIBUTES: [&str; 4] = ["host", "port", "user", "id"];

const NAMES: &[&str] = &[
    "name",
    "host",
    "port",
    "user",
    "id",
    "run",
    "shell",
    "upload",
    "download",
    "write",
    "read",
    "template",
    "reboot",
    "facts",
    "apply",
    "checkpoint",
    "fork",
    "breakpoint",
    "screenshot",
    "type",
    "screen_text",
    "serial",
    "expect",
    "shutdown",
    "finish",
    "destroy",
];

/// Decodes the option table of a method.
fn options<T: DeserializeOwned>(method: &str, table: Option<Value>) -> mlua::Result<T> {
    value::decode_table(method, &table.unwrap_or(Value::Nil))
}

/// Takes apart what a method was given: what any operation may be told, and its own options.
fn both<T: DeserializeOwned>(
    method: &str,
    session: &Session,
    given: crate::engine::Value,
) -> mlua::Result<(OperationOptions, T)> {
    let build = &session.cx().build;
    let decode = || {
        let mut table = OptionTable::new(method, OperationOptions::overridden(method, given, build)?)?;
        let operation: OperationOptions = table.take()?;
        operation.includes(method, build)?;
        Ok((operation, table.rest()?))
    };
    decode().into_lua_result()
}

/// The same for an option table that need not be given.
fn both_of<T: DeserializeOwned>(
    method: &str,
    session: &Session,
    table: Option<Value>,
) -> mlua::Result<(OperationOptions, T)> {
    both(method, session, super::builders::options(table.unwrap_or(Value::Nil)))
}

/// Does an operation as its options say, and gives what came of it to Lua: its result, nil where it is not for this
/// build, or the failure that is no reason to stop.
async fn done<T>(
    lua: &Lua,
    method: &str,
    session: &Session,
    options: OperationOptions,
    work: impl Future<Output = Result<T>>,
    result: impl FnOnce(T) -> mlua::Result<Value>,
) -> mlua::Result<Value> {
    let cx = BuildCx::current().unwrap_or_else(|| session.cx().clone());
    match options.apply(method, &cx, work).await.into_lua_result()? {
        Outcome::Done(value) => result(value),
        Outcome::Skipped => Ok(Value::Nil),
        Outcome::Failed(error) => failure(lua, &error),
    }
}

/// Gives a count of bytes to Lua.
#[expect(clippy::unnecessary_wraps, reason = "one of the ways to give a result to Lua, which may fail")]
fn number(bytes: u64) -> mlua::Result<Value> {
    Ok(i64::try_from(bytes).map_or(Value::Nil, Value::Integer))
}

/// Gives text to Lua.
fn text(lua: &Lua, text: String) -> mlua::Result<Value> {
    lua.create_string(text).map(Value::String)
}

/// Gives a failure to Lua as a result: the error's fields, and `ok`, which is false.
pub fn failure(lua: &Lua, error: &Error) -> mlua::Result<Value> {
    let mut fields = serde_json::Map::new();
    fields.extend(error.fields().iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    fields.insert("ok".into(), false.into());
    fields.insert("kind".into(), error.kind().as_str().into());
    fields.insert("message".into(), error.full_message().into());
    fields.insert("hint".into(), error.hints().first().cloned().into());
    value::json_to_lua(lua, &serde_json::Value::Object(fields))
}

/// Takes a command: a line for the shell, or a list of a program and its arguments.
fn line(value: Value) -> mlua::Result<Line> {
    match &value {
        Value::Table(table) => {
            let argv = table.sequence_values::<String>().collect::<mlua::Result<Vec<_>>>();
            argv.map(Line::Argv).map_err(|_| argument_error("vm:run", "the command's arguments must be strings"))
        }
        other => value::string("vm:run", "the command", other).map(Line::Shell),
    }
}

/// Gives a result to Lua as a table of its fields.
fn answer<T: serde::Serialize>(lua: &Lua, result: &T) -> mlua::Result<Value> {
    let json = serde_json::to_value(result).map_err(mlua::Error::external)?;
    value::json_to_lua(lua, &json)
}

impl UserData for MachineHandle {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        // A function of the prelude's: the provisioner it calls is on the stack that an error shows.
        fields.add_field_function_get("apply", |lua, _| state::flow(lua, "apply"));
        fields.add_field_function_get("fork", |lua, _| state::flow(lua, "fork"));
        fields.add_field_method_get("name", |_, this| Ok(this.session.name().to_owned()));
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        commands(methods);
        files(methods);
        power(methods);
        console(methods);
        methods.add_async_method("facts", async |lua, this, table: Option<Value>| {
            let session = this.session.clone();
            drop(this);
            let (operation, NoOptions {}) = both_of("vm:facts", &session, table)?;
            let work = provisioner::facts::facts(&session);
            done(&lua, "vm:facts", &session, operation, work, |facts| answer(&lua, &facts)).await
        });
        methods.add_async_method("breakpoint", async |lua, this, args: Value| {
            let session = this.session.clone();
            drop(this);
            let given = long_form(super::builders::options(args), "note");
            let (operation, options) = both("vm:breakpoint", &session, given)?;
            let work = provisioner::breakpoint::breakpoint(&session, options);
            done(&lua, "vm:breakpoint", &session, operation, work, |()| Ok(Value::Nil)).await
        });
        methods.add_meta_method("__tostring", |_, this, ()| Ok(format!("machine {}", this.session.name())));
        methods.add_async_meta_method("__index", async |lua, this, name: String| {
            let session = this.session.clone();
            drop(this);
            if ATTRIBUTES.contains(&name.as_str()) {
                let attribute = session.attribute(&name).await.into_lua_result()?;
                return value::json_to_lua(&lua, &attribute.unwrap_or_default());
            }
            let names: Vec<String> = NAMES.iter().map(|name| (*name).to_owned()).collect();
            Err(unknown_name("a machine", &name, &names))
        });
    }
}

fn commands<M: UserDataMethods<MachineHandle>>(methods: &mut M) {
    methods.add_async_method("run", async |lua, this, (command, table): (Value, Option<Value>)| {
        let (session, line) = (this.session.clone(), line(command)?);
        drop(this);
        let (operation, options) = both_of("vm:run", &session, table)?;
        let work = provisioner::run::run(&session, line, options);
        done(&lua, "vm:run", &session, operation, work, |result| answer(&lua, &result)).await
    });
    methods.add_async_method("shell", async |lua, this, args: Value| {
        let session = this.session.clone();
        drop(this);
        let given = ShellOptions::long_form(value::from_lua(&args));
        let (operation, options) = both("vm:shell", &session, given)?;
        let work = provisioner::shell::shell(&session, options);
        done(&lua, "vm:shell", &session, operation, work, |result| answer(&lua, &result)).await
    });
}

fn files<M: UserDataMethods<MachineHandle>>(methods: &mut M) {
    methods.add_async_method("upload", async |lua, this, (from, to, table): (Value, Value, Option<Value>)| {
        let session = this.session.clone();
        drop(this);
        let source = |given: &Value| Ok(value::path("vm:upload", "the source", given)?.to_string_lossy().into_owned());
        let several = match &from {
            Value::Table(list) => {
                let given = list.sequence_values::<Value>();
                Some(given.map(|given| source(&given?)).collect::<mlua::Result<Vec<_>>>()?)
            }
            _ => None,
        };
        let to = value::string("vm:upload", "the target", &to)?;
        let (operation, options) = both_of("vm:upload", &session, table)?;
        match several {
            Some(list) => {
                let work = provisioner::upload::upload_all(&session, &list, &to, &options);
                done(&lua, "vm:upload", &session, operation, work, number).await
            }
            None => {
                let from = source(&from)?;
                let work = provisioner::upload::upload(&session, &from, &to, &options);
                done(&lua, "vm:upload", &session, operation, work, number).await
            }
        }
    });
    methods.add_async_method("download", async |lua, this, (from, to, table): (Value, Value, Option<Value>)| {
        let session = this.session.clone();
        drop(this);
        let from = value::string("vm:download", "the source", &from)?;
        let to = value::path("vm:download", "the target", &to)?.to_string_lossy().into_owned();
        let (operation, options) = both_of("vm:download", &session, table)?;
        let work = provisioner::download::download(&session, &from, &to, &options);
        done(&lua, "vm:download", &session, operation, work, number).await
    });
    methods.add_async_method("write", async |lua, this, (path, content, table): (Value, Value, Option<Value>)| {
        let session = this.session.clone();
        drop(this);
        let path = value::string("vm:write", "the path", &path)?;
        let content = value::bytes("vm:write", "the content", &content)?;
        let (operation, options) = both_of("vm:write", &session, table)?;
        let work = provisioner::write::write(&session, &path, &content, &options);
        done(&lua, "vm:write", &session, operation, work, |()| Ok(Value::Nil)).await
    });
    methods.add_async_method("read", async |lua, this, (path, table): (Value, Option<Value>)| {
        let session = this.session.clone();
        drop(this);
        let path = value::string("vm:read", "the path", &path)?;
        let (operation, options) = both_of("vm:read", &session, table)?;
        let work = provisioner::write::read(&session, &path, &options);
        done(&lua, "vm:read", &session, operation, work, |content| lua.create_string(content).map(Value::String)).await
    });
    methods.add_async_method(
        "template",
        async |lua, this, (from, to, vars, table): (Value, Value, Value, Option<Value>)| {
            let session = this.session.clone();
            drop(this);
            let from = value::path("vm:template", "the source", &from)?.to_string_lossy().into_owned();
            let to = value::string("vm:template", "the target", &to)?;
            let vars = value::to_json(&super::builders::options(vars))
                .map_err(|e| argument_error("vm:template", format_args!("vars{e}")))?;
            let (operation, options) = both_of("vm:template", &session, table)?;
            let work = provisioner::template::template(&session, &from, &to, &vars, &options);
            done(&lua, "vm:template", &session, operation, work, |()| Ok(Value::Nil)).await
        },
    );
}

/// Sees that others can go on from here: what comes before the branches of `vm:fork`.
pub async fn before_fork(
    _: Lua,
    (machine, names): (mlua::UserDataRef<MachineHandle>, Vec<String>),
) -> mlua::Result<()> {
    let session = machine.session.clone();
    drop(machine);
    session.checkpoint_for_forks(&names).await.into_lua_result()
}

/// Makes one of the machines that go on from here side by side, in the branch that it is for.
pub fn fork(lua: &Lua, (machine, name): (mlua::UserDataRef<MachineHandle>, String)) -> mlua::Result<mlua::AnyUserData> {
    let forked = machine.session.fork(&name, &state::of(lua)?.current()).into_lua_result()?;
    lua.create_userdata(MachineHandle::new(forked, machine.origin.clone()))
}

fn power<M: UserDataMethods<MachineHandle>>(methods: &mut M) {
    methods.add_async_method("checkpoint", async |_, this, name: Option<Value>| {
        let session = this.session.clone();
        drop(this);
        let name = match name {
            None | Some(Value::Nil) => String::new(),
            Some(name) => value::string("vm:checkpoint", "the name", &name)?,
        };
        session.checkpoint(&name).await.into_lua_result()
    });
    methods.add_async_method("reboot", async |lua, this, table: Option<Value>| {
        let session = this.session.clone();
        drop(this);
        let (operation, options) = both_of("vm:reboot", &session, table)?;
        let work = provisioner::power::reboot(&session, options);
        done(&lua, "vm:reboot", &session, operation, work, |()| Ok(Value::Nil)).await
    });
    methods.add_async_method("shutdown", async |lua, this, table: Option<Value>| {
        let session = this.session.clone();
        drop(this);
        let (operation, options): (_, ShutdownOptions) = both_of("vm:shutdown", &session, table)?;
        let work = session.shutdown(options.command.as_deref(), operation.timeout.map(|limit| limit.0));
        done(&lua, "vm:shutdown", &session, operation, work, |()| Ok(Value::Nil)).await
    });
    methods.add_async_method("finish", async |lua, this, table: Option<Value>| {
        let (session, origin) = (this.session.clone(), this.origin.clone());
        drop(this);
        let mut spec: CaptureSpec = options("vm:finish", table)?;
        let settings = state::of(&lua)?.settings.clone();
        spec.output_directory = spec.output_directory.map(|path| settings.resolve(path));
        let artifact = session.finish(&spec).await.into_lua_result()?;
        lua.create_userdata(ArtifactHandle { artifact, origin })
    });
    methods.add_async_method("destroy", async |_, this, ()| {
        let session = this.session.clone();
        drop(this);
        session.destroy().await.into_lua_result()
    });
}

/// What is done at the machine's console.
fn console<M: UserDataMethods<MachineHandle>>(methods: &mut M) {
    methods.add_async_method("screenshot", async |lua, this, (path, table): (Value, Option<Value>)| {
        let (session, path) = (this.session.clone(), value::path("vm:screenshot", "the picture's path", &path)?);
        drop(this);
        let (operation, NoOptions {}) = both_of("vm:screenshot", &session, table)?;
        let work = provisioner::screenshot::screenshot(&session, &path);
        let written = |path: std::path::PathBuf| text(&lua, path.display().to_string());
        done(&lua, "vm:screenshot", &session, operation, work, written).await
    });
    methods.add_async_method("type", async |lua, this, (keys, table): (Value, Option<Value>)| {
        let (session, keys) = (this.session.clone(), value::string("vm:type", "the text", &keys)?);
        drop(this);
        let (operation, options) = both_of("vm:type", &session, table)?;
        let work = provisioner::typing::type_text(&session, &keys, &options);
        done(&lua, "vm:type", &session, operation, work, |()| Ok(Value::Nil)).await
    });
    methods.add_async_method("screen_text", async |lua, this, table: Option<Value>| {
        let session = this.session.clone();
        drop(this);
        let (operation, NoOptions {}) = both_of("vm:screen_text", &session, table)?;
        let work = provisioner::expect::screen_text(&session);
        done(&lua, "vm:screen_text", &session, operation, work, |shown| text(&lua, shown)).await
    });
    methods.add_async_method("serial", async |lua, this, table: Option<Value>| {
        let session = this.session.clone();
        drop(this);
        let (operation, NoOptions {}) = both_of("vm:serial", &session, table)?;
        let work = provisioner::expect::serial(&session);
        done(&lua, "vm:serial", &session, operation, work, |written| text(&lua, written)).await
    });
    methods.add_async_method("expect", async |lua, this, (pattern, table): (Value, Option<Value>)| {
        let (session, patterns) = (this.session.clone(), patterns(pattern)?);
        drop(this);
        let (operation, mut options): (_, ExpectOptions) = both_of("vm:expect", &session, table)?;
        // The limit of an attempt is how long to wait: one that is over says what is there instead.
        options.timeout = operation.timeout;
        let work = provisioner::expect::expect(&session, &patterns, &options);
        done(&lua, "vm:expect", &session, operation, work, |seen| answer(&lua, &seen)).await
    });
}

/// Takes one pattern or a list of them.
fn patterns(value: Value) -> mlua::Result<Vec<String>> {
    match &value {
        Value::Table(table) => {
            let items = table.sequence_values::<Value>();
            items.map(|item| value::string("vm:expect", "a pattern", &item?)).collect()
        }
        other => Ok(vec![value::string("vm:expect", "the pattern", other)?]),
    }
}

/// Returns the names a machine has, for the annotation test.
pub fn names() -> &'static [&'static str] {
    NAMES
}
