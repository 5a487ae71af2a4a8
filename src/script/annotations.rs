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
        .filter(|name| cfg!(feature = "amazon") || !name.starts_with("rimg.amazon."))
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
    #[cfg_attr(not(feature = "amazon"), expect(unused_mut, reason = "there is no other object"))]
    let mut objects = vec![
        ("rimg.Machine", api::machine::names().to_vec()),
        ("rimg.Artifact", api::artifact::names().to_vec()),
        ("rimg.Build", vec!["name", "status", "await"]),
    ];
    #[cfg(feature = "amazon")]
    objects.push(("rimg.AmazonClient", api::amazon::names()));
    for (class, names) in objects {
        let live: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(annotations.members(class), live, "{class}");
    }
}

/// Lists the modules of the standard library: name, source of all its files.
fn std_modules() -> Vec<(String, Vec<(String, String)>)> {
    fn collect(dir: &Path, into: &mut Vec<(String, String)>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, into);
            } else if path.extension().is_some_and(|e| e == "lua") {
                into.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut modules = Vec::new();
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("stdlib")).unwrap() {
        let path = entry.unwrap().path();
        let mut files = Vec::new();
        if path.is_dir() {
            collect(&path, &mut files);
        } else if path.extension().is_some_and(|e| e == "lua") {
            files.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
        }
        if !files.is_empty() {
            modules.push((path.file_stem().unwrap().to_string_lossy().into_owned(), files));
        }
    }
    modules
}

/// Returns the names that follow `before` in a line of code.
fn names_after<'a>(code: &'a str, before: &'a str) -> impl Iterator<Item = &'a str> {
    code.match_indices(before).filter_map(move |(at, _)| {
        let joined = code.get(..at)?.ends_with(|c: char| c.is_alphanumeric() || "_.\"".contains(c));
        let rest = code.get(at + before.len()..)?;
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.')).unwrap_or(rest.len());
        (!joined).then(|| rest.get(..end)).flatten()
    })
}

#[test]
fn the_standard_library_uses_the_public_api_alone() {
    let annotations = Annotations::read();
    let machine = annotations.members("rimg.Machine");
    let fields = annotations.fields("rimg");
    for (_, files) in std_modules() {
        for (path, text) in files {
            for (number, line) in text.lines().enumerate() {
                let place = format!("{path}:{}: {line}", number + 1);
                let code = line.split(" --").next().unwrap_or_default();
                if code.trim_start().starts_with("--") {
                    continue;
                }
                for required in ["require \"", "require(\""].into_iter().flat_map(|before| names_after(code, before)) {
                    assert!(required == "rimg" || required.starts_with("std."), "{place}");
                }
                for name in names_after(code, "rimg.").filter(|name| !name.is_empty()) {
                    let whole = format!("rimg.{name}");
                    let known = fields.contains(name)
                        || annotations
                            .functions
                            .iter()
                            .any(|one| one == &whole || one.starts_with(&format!("{whole}.")))
                        || ["json.null", "json.array"].contains(&name);
                    assert!(known, "rimg.{name} is not in lua/types/: {place}");
                }
                for name in names_after(code, "vm:").chain(names_after(code, "vm.")) {
                    assert!(machine.contains(name), "vm:{name} is not in lua/types/: {place}");
                }
                // What would go past rimg, and past its walls.
                let past = |name: &&str| ["execute", "remove", "rename", "tmpname"].contains(name);
                assert_eq!(names_after(code, "os.").find(past), None, "{place}");
                for forbidden in ["io.", "debug.", "package."] {
                    assert_eq!(names_after(code, forbidden).find(|name| !name.is_empty()), None, "{place}");
                }
            }
        }
    }
}

#[test]
fn every_function_of_the_standard_library_is_annotated() {
    let annotations = Annotations::read();
    for (module, files) in std_modules() {
        let main = files.iter().find(|(path, _)| !path.contains(&format!("/{module}/")) || path.ends_with("/init.lua"));
        let (path, text) = main.expect("a module's own file");
        let live: BTreeSet<String> = text
            .lines()
            .filter_map(|line| line.strip_prefix("function M.")?.split_once('(').map(|(name, _)| name.to_owned()))
            .collect();
        let prefix = format!("std.{module}.");
        let names = annotations.functions.iter().filter_map(|name| name.strip_prefix(&prefix));
        // Those of a class are methods of what a function returns.
        let annotated: BTreeSet<String> = names.filter(|name| !name.contains('.')).map(str::to_owned).collect();
        assert_eq!(annotated, live, "{path} beside lua/types/std_{module}.lua");
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/std/README.md");
        let index = std::fs::read_to_string(page).unwrap();
        assert!(index.contains(&format!("std.{module}")), "docs/std/README.md does not name std.{module}");
    }
}
