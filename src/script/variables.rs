//! Values for `rimg.var` and `rimg.secret`: from `-v`, from files, from the environment.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use super::run_options::VariableInfo;
use super::value;
use crate::engine::Value;
use crate::engine::options::did_you_mean;
use crate::error::{Context, Error, Kind, Result, io_error};

/// The given values, and what the script has asked for so far.
#[derive(Default)]
pub struct Variables {
    given: BTreeMap<String, Value>,
    declared: RefCell<Vec<VariableInfo>>,
}

impl Variables {
    /// Reads the files, later ones over earlier ones, and puts the `-v` values over all.
    pub fn load(files: &[std::path::PathBuf], vars: &[(String, String)]) -> Result<Variables> {
        let mut given = BTreeMap::new();
        for file in files {
            match read(file)? {
                Value::Map(entries) => given.extend(entries),
                Value::List(items) if items.is_empty() => {}
                _ => {
                    return Err(Error::new(
                        Kind::Usage,
                        format!("--var-file {}: expected a table of name = value", file.display()),
                    ));
                }
            }
        }
        given.extend(vars.iter().map(|(name, value)| (name.clone(), Value::Str(value.clone()))));
        Ok(Variables { given, declared: RefCell::default() })
    }

    /// Returns the value given for a name: `-v`, a file, else the environment variable `RIMG_VAR_<name>`.
    pub fn given(&self, name: &str) -> Option<Value> {
        self.given.get(name).cloned().or_else(|| std::env::var(format!("RIMG_VAR_{name}")).ok().map(Value::Str))
    }

    /// Writes down that the script declares a variable.
    pub fn declare(&self, info: VariableInfo) {
        let mut declared = self.declared.borrow_mut();
        if !declared.iter().any(|known| known.name == info.name) {
            declared.push(info);
        }
    }

    /// Returns the variables that the script has asked for.
    pub fn declared(&self) -> Vec<VariableInfo> {
        self.declared.borrow().clone()
    }

    /// Says which given names the script never asked for.
    pub fn unused(&self) -> Vec<String> {
        let declared = self.declared.borrow();
        let names: Vec<&str> = declared.iter().map(|info| info.name.as_str()).collect();
        self.given
            .keys()
            .filter(|name| !names.contains(&name.as_str()))
            .map(|name| {
                let hint = did_you_mean(name, &names).map(|hint| format!("; {hint}")).unwrap_or_default();
                format!("a value was given for the variable `{name}`, which the script never asks for{hint}")
            })
            .collect()
    }
}

fn read(path: &Path) -> Result<Value> {
    let usage = || format!("--var-file {}", path.display());
    let text = std::fs::read_to_string(path)
        .map_err(|e| io_error("read the variables file", std::path::absolute(path).unwrap_or(path.into()), e))?;
    match path.extension().and_then(|e| e.to_str()) {
        Some("json") => {
            serde_json::from_str::<serde_json::Value>(&text).with_context(Kind::Usage, usage).map(Value::from)
        }
        Some("yaml" | "yml") => {
            serde_yaml_ng::from_str::<serde_json::Value>(&text).with_context(Kind::Usage, usage).map(Value::from)
        }
        Some("toml") => toml::from_str::<serde_json::Value>(&text).with_context(Kind::Usage, usage).map(Value::from),
        Some("lua") => {
            // A file of data: it gets Lua without a way out.
            let libs = mlua::StdLib::STRING | mlua::StdLib::TABLE | mlua::StdLib::MATH;
            let lua = mlua::Lua::new_with(libs, mlua::LuaOptions::default()).with_context(Kind::Internal, usage)?;
            let name = format!("@{}", path.display());
            let table = lua.load(text).set_name(name).set_mode(mlua::chunk::ChunkMode::Text).eval::<mlua::Value>();
            table.with_context(Kind::Usage, usage).map(|table| value::from_lua(&table))
        }
        _ => Err(Error::new(Kind::Usage, format!("{}: unknown kind of file", usage()))
            .hint("end its name in .json, .toml, .yaml or .lua")),
    }
}
