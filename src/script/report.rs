//! What a person is told of a Lua error: the script's line, its source, the way there, and what to do.

use mlua::{Lua, Value};

use super::error as lua_error;
use super::state::State;
use crate::error::{Error, Kind};
use crate::ui::error_text;
use crate::ui::event::ErrorReport;

/// A failed call: the error for other code, the report for people.
#[derive(Clone)]
pub struct Failure {
    pub error: Error,
    pub report: Box<ErrorReport>,
}

/// Reports an error that has no script line: a cancellation, a timeout of the whole.
pub fn plain(error: Error) -> Failure {
    Failure { report: Box::new(report(&error, None, None, Vec::new())), error }
}

/// Reports what a trampoline caught: `{ value, traceback }`.
pub fn of_captured(lua: &Lua, state: &State, captured: Value) -> Failure {
    let (value, traceback) = match &captured {
        Value::Table(table) => (
            table.raw_get::<Value>("value").unwrap_or(Value::Nil),
            table.raw_get::<String>("traceback").unwrap_or_default(),
        ),
        _ => (captured, String::new()),
    };
    let (error, traceback, location) = match &value {
        Value::Error(lua_error) => {
            let (error, location) = error_of(lua_error);
            let says_where = script_frames(&traceback).next().is_some();
            let traceback = if says_where { traceback } else { innermost_traceback(lua_error).unwrap_or_default() };
            (error, traceback, location)
        }
        Value::String(text) => {
            let (error, location) = of_message(&text.to_string_lossy());
            (error, traceback, location)
        }
        other => (of_value(lua, other), traceback, None),
    };
    build(state, error, &traceback, location)
}

/// Reports an error of mlua that no trampoline caught: a syntax error, most of all.
pub fn of_error(state: &State, error: &mlua::Error) -> Failure {
    let traceback = innermost_traceback(error).unwrap_or_default();
    let (error, location) = error_of(error);
    build(state, error, &traceback, location)
}

fn build(state: &State, error: Error, traceback: &str, location: Option<(String, usize)>) -> Failure {
    let location = location.or_else(|| {
        let users = |(source, _): &(String, usize)| !source.starts_with("std/");
        script_frames(traceback).find(users).or_else(|| script_frames(traceback).next())
    });
    let excerpt = location.as_ref().and_then(|(source, line)| excerpt(state, source, *line));
    let lines = traceback.lines().map(str::trim).filter(|line| is_users(line)).map(str::to_owned).collect();
    Failure { report: Box::new(report(&error, location, excerpt, lines)), error }
}

fn report(
    error: &Error,
    location: Option<(String, usize)>,
    excerpt: Option<String>,
    traceback: Vec<String>,
) -> ErrorReport {
    ErrorReport {
        kind: error.kind().as_str().to_owned(),
        message: error.full_message(),
        hints: error.hints().to_vec(),
        location: location.map(|(source, line)| format!("{source}:{line}")),
        excerpt,
        traceback,
        fields: error_text::fields(error),
    }
}

/// Turns the error of a function that no other code of the script's is waiting for into ours, which names its line.
pub fn located(error: &mlua::Error) -> Error {
    let (ours, location) = error_of(error);
    let traceback = innermost_traceback(error).unwrap_or_default();
    let location = location.or_else(|| script_frames(&traceback).next());
    match location {
        Some((source, line)) => ours.within(format_args!("{source}:{line}")),
        None => ours,
    }
}

/// Turns any error of mlua into ours, with the place its message names.
pub fn error_of(error: &mlua::Error) -> (Error, Option<(String, usize)>) {
    if let Some(ours) = lua_error::find(error) {
        return (ours.clone(), None);
    }
    match error {
        mlua::Error::CallbackError { cause, .. } => error_of(cause),
        mlua::Error::WithContext { cause, .. } => error_of(cause),
        mlua::Error::SyntaxError { message, .. } => of_message(message),
        mlua::Error::RuntimeError(message) => of_message(message),
        other => of_message(&other.to_string()),
    }
}

/// Takes `build.lua:12: attempt to …` apart and adds what is known about Lua's own messages.
fn of_message(text: &str) -> (Error, Option<(String, usize)>) {
    let text = text.split("\nstack traceback:").next().unwrap_or(text);
    let (location, message) = split_location(text);
    let mut error = Error::new(Kind::Script, message);
    if message.contains("attempt to yield across a C-call boundary")
        || message.contains("attempt to yield from outside")
    {
        error = Error::new(
            Kind::Script,
            "a function that waits (vm:run, rimg.sleep, handle:await, …) was called where Lua cannot wait",
        )
        .hint("callbacks of table.sort and string.gsub cannot wait: collect the values first, then work in a loop");
    } else if message.contains("attempt to index a nil value") || message.contains("attempt to call a nil value") {
        error = error.hint("the name is not set here: check its spelling, and that what should set it ran before");
    }
    (error, location)
}

/// Splits a leading `source:line: ` off.
fn split_location(text: &str) -> (Option<(String, usize)>, &str) {
    let split = || {
        let (source, rest) = text.split_once(':')?;
        let (line, message) = rest.split_once(": ")?;
        let line: usize = line.parse().ok()?;
        (!source.contains('\n') && !source.is_empty()).then(|| ((source.to_owned(), line), message))
    };
    match split() {
        Some((location, message)) => (Some(location), message),
        None => (None, text),
    }
}

/// Describes an error value that is neither a string nor one of ours: a table with fields, a number, nil.
fn of_value(lua: &Lua, value: &Value) -> Error {
    if let Value::Table(table) = value {
        let text = |name: &str| table.get::<Option<String>>(name).ok().flatten();
        if let Some(message) = text("message") {
            let error = Error::new(Kind::Script, message);
            return match text("hint") {
                Some(hint) => error.hint(hint),
                None => error,
            };
        }
    }
    let text = lua
        .globals()
        .get::<mlua::Function>("tostring")
        .and_then(|tostring| tostring.call::<String>(value.clone()))
        .unwrap_or_else(|_| value.type_name().to_owned());
    Error::new(Kind::Script, text)
}

/// Returns the traceback taken where the error was first raised.
fn innermost_traceback(error: &mlua::Error) -> Option<String> {
    match error {
        mlua::Error::CallbackError { traceback, cause } => {
            innermost_traceback(cause).or_else(|| Some(traceback.clone()))
        }
        mlua::Error::WithContext { cause, .. } => innermost_traceback(cause),
        _ => None,
    }
}

/// Yields the frames that are lines of a script, innermost first, as source and line.
fn script_frames(traceback: &str) -> impl Iterator<Item = (String, usize)> {
    traceback.lines().map(str::trim).filter(|line| is_users(line)).filter_map(|line| {
        let (source, rest) = line.split_once(':')?;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        Some((source.to_owned(), digits.parse().ok()?))
    })
}

/// Tells frames of the script and its modules from the runtime's own.
fn is_users(line: &str) -> bool {
    !(line.is_empty()
        || line.starts_with("stack traceback")
        || line.starts_with("[C]")
        || line.starts_with("(...tail calls...)")
        || line.starts_with("rimg/")
        || line.contains("__mlua_"))
}

/// Shows a source line with its neighbours, the line itself marked.
fn excerpt(state: &State, source: &str, line: usize) -> Option<String> {
    let sources = state.sources.borrow();
    // Lua shortens long names to `...tail`.
    let text = sources.get(source).or_else(|| {
        let tail = source.strip_prefix("...")?;
        sources.iter().find(|(name, _)| name.ends_with(tail)).map(|(_, text)| text)
    })?;
    let from = line.saturating_sub(2).max(1);
    let width = (line + 1).to_string().len();
    let shown: Vec<String> = text
        .lines()
        .enumerate()
        .map(|(index, text)| (index + 1, text))
        .skip(from - 1)
        .take(line + 1 - from + 1)
        .map(|(number, text)| {
            format!("{} {number:>width$} | {text}", if number == line { '>' } else { ' ' }).trim_end().to_owned()
        })
        .collect();
    (!shown.is_empty()).then(|| shown.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_messages() {
        assert_eq!(split_location("a.lua:3: oops: x"), (Some(("a.lua".into(), 3)), "oops: x"));
        assert_eq!(split_location("no place: here"), (None, "no place: here"));
    }

    #[test]
    fn runtime_frames_are_hidden() {
        let traceback = "\nstack traceback:\n\t[C]: in ?\n\t__mlua_async_poll:2: in x\n\trimg/prelude.lua:9: in y\n\t__mlua_index:31: in metamethod 'index'\n\tbuild.lua:4: in z";
        assert_eq!(script_frames(traceback).collect::<Vec<_>>(), [("build.lua".to_owned(), 4)]);
    }
}
