//! Holds `lua/types/` against the live API, both ways: what a script can call is annotated, and what is annotated exists.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use mlua::{Lua, Table, Value};

use super::api;

/// What the annotation files declare.
#[derive(Default)]
struct Annotations {
    /// `rimg.fs.read`, `Machine:run`.
    functions: BTreeSet<String>,
    /// Class, its parents, its fields.
    classes: BTreeMap<String, (Vec<String>, BTreeSet<String>)>,
}

impl Annotations {
    fn read() -> Annotations {
        let mut all = Annotations::default();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("lua/types");
        for entry in std::fs::read_dir(root).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "lua") {
                all.parse(&std::fs::read_to_string(path).unwrap());
            }
        }
        all
    }

    fn parse(&mut self, text: &str) {
        let mut class = None;
        // `local Machine = {}` under a class gives the class its Lua name in the file.
        let mut names: BTreeMap<String, String> = BTreeMap::new();
        for line in text.lines() {
            let line = line.trim();
            if let Some(rest) = line.strip_prefix("---@class ") {
                let rest = rest.trim_start_matches("(exact) ");
                let (name, parents) = match rest.split_once(':') {
                    Some((name, parents)) => {
                        (name.trim(), parents.split(',').map(|parent| parent.trim().to_owned()).collect())
                    }
                    None => (rest.split_whitespace().next().unwrap(), Vec::new()),
                };
                self.classes.entry(name.to_owned()).or_default().0 = parents;
                class = Some(name.to_owned());
            } else if let Some(rest) = line.strip_prefix("---@field ") {
                let name = rest.split_whitespace().next().unwrap().trim_end_matches('?');
                let class = class.as_ref().expect("a field without a class");
                self.classes.get_mut(class).unwrap().1.insert(name.to_owned());
            } else if let Some(rest) = line.strip_prefix("local ") {
                if let (Some((name, _)), Some(class)) = (rest.split_once(" ="), &class) {
                    names.insert(name.trim().to_owned(), class.clone());
                }
            } else if let Some(rest) = line.strip_prefix("function ") {
                let name = rest.split('(').next().unwrap().trim();
                let (owner, method) = name.split_once([':', '.']).unwrap_or((name, ""));
                let owner = names.get(owner).cloned().unwrap_or_else(|| owner.to_owned());
                self.functions.insert(format!("{owner}.{method}"));
            }
        }
    }

    fn fields(&self, class: &str) -> BTreeSet<String> {
        let Some((parents, own)) = self.classes.get(class) else { panic!("lua/types/ has no class {class}") };
        let mut fields = own.clone();
        for parent in parents {
            fields.extend(self.fields(parent));
        }
        fields
    }

    /// Returns fields and methods of an object's class.
    fn members(&self, class: &str) -> BTreeSet<String> {
        let prefix = format!("{class}.");
        let methods = self.functions.iter().filter_map(|name| name.strip_prefix(&prefix)).map(str::to_owned);
        self.fields(class).into_iter().chain(methods).collect()
    }
}

fn live_names(prefix: &str, table: &Table, into: &mut BTreeSet<String>) {
    for pair in table.pairs::<String, Value>() {
        let (name, value) = pair.unwrap();
        match value {
            Value::Function(_) => {
                into.insert(format!("{prefix}.{name}"));
            }
            Value::Table(table) => live_names(&format!("{prefix}.{name}"), &table, into),
            _ => {}
        }
    }
}

#[test]
fn every_function_is_annotated_and_every_annotation_exists() {
    let lua = Lua::new();
    let flow = lua.create_table().unwrap();
    for name in ["step", "timeout", "parallel", "retry", "apply", "boot"] {
        flow.set(name, lua.create_function(|_, ()| Ok(())).unwrap()).unwrap();
    }
    let rimg = api::bare(&lua, &flow).unwrap();
    let mut live = BTreeSet::new();
    live_names("rimg", &rimg, &mut live);
    // Is there for tests alone.
    live.remove("rimg.folder");
    let annotated: BTreeSet<String> = Annotations::read()
        .functions
        .into_iter()
        .filter(|name| name.starts_with("rimg.") && !name.starts_with("rimg.std"))
        .filter(|name| name.split('.').nth(1).is_some_and(|part| part.starts_with(char::is_lowercase)))
        .collect();
    let missing: Vec<_> = live.difference(&annotated).collect();
    let stale: Vec<_> = annotated.difference(&live).collect();
    assert!(missing.is_empty() && stale.is_empty(), "not annotated: {missing:?}; annotated but not there: {stale:?}");
}

#[test]
fn every_option_is_annotated_and_every_annotation_is_an_option() {
    let annotations = Annotations::read();
    for (class, options) in api::classes::classes().into_iter().filter(|(class, _)| *class != "rimg.FolderOptions") {
        let live: BTreeSet<String> = options.iter().map(|name| (*name).to_owned()).collect();
        // A number is a positional entry: `{ "echo hi", sudo = true }`.
        let annotated: BTreeSet<String> =
            annotations.fields(class).into_iter().filter(|name| !name.starts_with('[')).collect();
        assert_eq!(annotated, live, "{class} in lua/types/ beside its struct");
    }
}

#[test]
fn every_member_of_an_object_is_annotated() {
    let annotations = Annotations::read();
    for (class, names) in [
        ("rimg.Machine", api::machine::names()),
        ("rimg.Artifact", api::artifact::names()),
        ("rimg.Build", &["name", "status", "await"][..]),
    ] {
        let live: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(annotations.members(class), live, "{class}");
    }
}
