//! `rimg.var` and `rimg.secret`: what a run is given from outside.

use mlua::{Lua, Table, Value};
use serde::Deserialize;

use crate::engine::Mode;
use crate::engine::Value as Data;
use crate::engine::options::Any;
use crate::error::{Error, Kind};
use crate::script::error::{argument_error, lua_error};
use crate::script::run_options::VariableInfo;
use crate::script::{state, value};
use crate::ui::spellings::SHORTEST;

/// The options of `rimg.secret(name, options)`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SecretOptions {
    /// The environment variable to read it from, besides `-v`, `--var-file` and `RIMG_VAR_<name>`.
    pub env: Option<String>,
    /// A file to read it from, its last line break removed.
    pub file: Option<std::path::PathBuf>,
    /// Whether nil is returned when there is no value, in place of an error.
    pub optional: bool,
    pub help: Option<String>,
}

/// The options of `rimg.var(name, options)`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VarOptions {
    /// The value when none is given; its type is the variable's type.
    pub default: Option<Any>,
    pub help: Option<String>,
    /// `string`, `number`, `boolean` or `list`; the default value's type unless said otherwise.
    pub r#type: Option<Type>,
    /// The only values that are accepted.
    pub choices: Vec<String>,
}

/// A variable's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Type {
    String,
    Number,
    Boolean,
    List,
}

impl Type {
    fn of(default: &Value) -> Type {
        match default {
            Value::Boolean(_) => Type::Boolean,
            Value::Integer(_) | Value::Number(_) => Type::Number,
            Value::Table(_) => Type::List,
            _ => Type::String,
        }
    }

    /// Converts text from the command line or the environment; other data passes where its type is right.
    fn convert(self, data: Data) -> Result<Data, String> {
        let found = |data: &Data| match data {
            Data::Str(text) => format!("{text:?}"),
            other => format!("{other:?}"),
        };
        match (self, data) {
            (Type::String, Data::Int(n)) => Ok(Data::Str(n.to_string())),
            (Type::String, Data::Float(n)) => Ok(Data::Str(n.to_string())),
            (Type::String, Data::Bool(b)) => Ok(Data::Str(b.to_string())),
            (Type::String, data @ Data::Str(_))
            | (Type::Number, data @ (Data::Int(_) | Data::Float(_)))
            | (Type::Boolean, data @ Data::Bool(_))
            | (Type::List, data @ (Data::List(_) | Data::Map(_))) => Ok(data),
            (Type::Number, Data::Str(text)) => match (text.trim().parse::<i64>(), text.trim().parse::<f64>()) {
                (Ok(n), _) => Ok(Data::Int(n)),
                (_, Ok(n)) => Ok(Data::Float(n)),
                _ => Err(format!("expected a number, found {text:?}")),
            },
            (Type::Boolean, Data::Str(text)) => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "1" => Ok(Data::Bool(true)),
                "false" | "no" | "off" | "0" => Ok(Data::Bool(false)),
                _ => Err(format!("expected true or false, found {text:?}")),
            },
            (Type::List, Data::Str(text)) => match serde_json::from_str::<serde_json::Value>(&text) {
                Ok(json @ (serde_json::Value::Array(_) | serde_json::Value::Object(_))) => Ok(json.into()),
                _ => Ok(Data::List(text.split(',').map(|item| Data::Str(item.trim().to_owned())).collect())),
            },
            (kind, data) => Err(format!("expected a {}, found {}", format!("{kind:?}").to_lowercase(), found(&data))),
        }
    }
}

fn how_to_give(name: &str) -> String {
    format!("give it with -v {name}=VALUE, in a --var-file, or as RIMG_VAR_{name}")
}

fn var(lua: &Lua, (name, options): (Value, Value)) -> mlua::Result<Value> {
    let name = value::string("rimg.var", "the variable's name", &name)?;
    let state = state::of(lua)?;
    let decoded: VarOptions = value::decode_table("rimg.var", &options)?;
    let default = match &options {
        Value::Table(table) => table.get::<Value>("default")?,
        _ => Value::Nil,
    };
    state.variables.declare(VariableInfo {
        name: name.clone(),
        default: (!default.is_nil()).then(|| shown(&value::from_lua(&default))),
        help: decoded.help.clone(),
        required: default.is_nil(),
        secret: false,
    });
    let of_variable =
        |message: String| Error::new(Kind::Usage, format!("the variable `{name}`: {message}")).hint(how_to_give(&name));
    let Some(given) = state.variables.given(&name) else {
        if default.is_nil() {
            if state.settings.mode == Mode::Inspect {
                return Ok(Value::String(lua.create_string("")?));
            }
            let error = Error::new(Kind::Usage, format!("the variable `{name}` has no value"));
            return Err(lua_error(error.hint(how_to_give(&name))));
        }
        return Ok(default);
    };
    let kind = decoded.r#type.unwrap_or_else(|| Type::of(&default));
    let data = kind.convert(given).map_err(|message| lua_error(of_variable(message)))?;
    if !decoded.choices.is_empty() && !decoded.choices.contains(&shown(&data)) {
        let message = format!("{:?} is not one of {}", shown(&data), decoded.choices.join(", "));
        return Err(lua_error(of_variable(message)));
    }
    value::to_lua(lua, &data)
}

/// Shows data as a person would write it on the command line.
fn shown(data: &Data) -> String {
    match data {
        Data::Str(text) => text.clone(),
        other => value::to_json(other).map_or_else(|e| e, |json| json.to_string()),
    }
}

fn secret(lua: &Lua, (name, options): (Value, Value)) -> mlua::Result<Option<String>> {
    let name = value::string("rimg.secret", "the secret's name", &name)?;
    let state = state::of(lua)?;
    let options: SecretOptions = value::decode_table("rimg.secret", &options)?;
    state.variables.declare(VariableInfo {
        name: name.clone(),
        default: None,
        help: options.help.clone(),
        required: !options.optional,
        secret: true,
    });
    let given = match state.variables.given(&name) {
        Some(data) => Some(shown(&data)),
        None => options.env.as_ref().and_then(|env| std::env::var(env).ok()).filter(|text| !text.is_empty()),
    };
    let given = match (given, &options.file) {
        (None, Some(file)) => {
            let path = state.settings.resolve(file);
            match std::fs::read_to_string(&path) {
                Ok(text) => Some(text.trim_end_matches(['\n', '\r']).to_owned()),
                Err(_) if options.optional => None,
                Err(e) => return Err(lua_error(crate::error::io_error("read the secret from", &path, e))),
            }
        }
        (given, _) => given,
    };
    if let Some(text) = &given {
        if text.is_empty() {
            return Err(argument_error("rimg.secret", format_args!("the secret `{name}` is empty")));
        }
        if !state.ui.secrets().add(text) {
            state.ui.warn(format!("the secret `{name}` has fewer than {SHORTEST} characters: it is not masked"));
        }
        return Ok(given);
    }
    if options.optional {
        return Ok(None);
    }
    if state.settings.mode != Mode::Live {
        return Ok(Some(String::new()));
    }
    let error = Error::new(Kind::Usage, format!("the secret `{name}` has no value"));
    let error = match options.env {
        Some(env) => error.hint(format!("set the environment variable {env}")),
        None => error,
    };
    Err(lua_error(error.hint(how_to_give(&name))))
}

/// Adds `var` and `secret` to the `rimg` table.
pub fn register(lua: &Lua, rimg: &Table) -> mlua::Result<()> {
    rimg.set("var", lua.create_function(var)?)?;
    rimg.set("secret", lua.create_function(secret)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_the_variables_type() {
        let text = |text: &str| Data::Str(text.into());
        assert_eq!(Type::Number.convert(text("42")), Ok(Data::Int(42)));
        assert_eq!(Type::Number.convert(text("1.5")), Ok(Data::Float(1.5)));
        assert!(Type::Number.convert(text("many")).is_err());
        assert_eq!(Type::Boolean.convert(text("yes")), Ok(Data::Bool(true)));
        assert!(Type::Boolean.convert(text("perhaps")).is_err());
        assert_eq!(Type::List.convert(text("a, b")), Ok(Data::List(vec![text("a"), text("b")])));
        assert_eq!(Type::List.convert(text("[1]")), Ok(Data::List(vec![Data::Int(1)])));
        assert_eq!(Type::String.convert(Data::Int(7)), Ok(text("7")));
    }
}
