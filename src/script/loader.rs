//! Finds what `require` asks for: rimg itself, the embedded standard library, then files beside the script, in
//! `rimg.module_path`, and in `lua_modules/`.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use include_dir::{Dir, include_dir};
use mlua::{Function, Lua};

use super::error::lua_error;
use super::state::{self, State};
use super::vendored;
use crate::engine::options::did_you_mean;
use crate::error::{Error, Kind, Result, io_error};

/// `stdlib/`, embedded: `require "std.debian"` is `stdlib/debian.lua` or `stdlib/debian/init.lua`.
static STDLIB: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/stdlib");

/// `lua/prelude.lua`, the Lua half of the runtime.
pub const PRELUDE: &str = include_str!("../../lua/prelude.lua");

/// Where a run looks for modules.
#[derive(Debug, Default)]
pub struct Modules {
    /// The folders of `rimg.module_path`, in order.
    pub path: RefCell<Vec<PathBuf>>,
    /// The vendored modules that were compared with their lock.
    compared: RefCell<BTreeSet<PathBuf>>,
}

/// Finds a module; returns its chunk and where it came from.
pub fn find_module(lua: &Lua, name: &str) -> mlua::Result<(Function, String)> {
    let state = state::of(lua)?;
    if let Some(rest) = name.strip_prefix("std.") {
        let path = rest.replace('.', "/");
        let file = [format!("{path}.lua"), format!("{path}/init.lua")].into_iter().find_map(|file| {
            let source = STDLIB.get_file(&file)?.contents_utf8()?;
            Some((file, source.to_owned()))
        });
        let Some((file, source)) = file else { return Err(lua_error(no_std_module(name))) };
        let shown = format!("std/{file}");
        return Ok((load(lua, &state, &shown, source)?, shown));
    }
    if name.is_empty() || name.contains(['/', '\\']) || name.split('.').any(str::is_empty) {
        let error = Error::new(Kind::Script, format!("require: {name:?} is not a module's name"))
            .hint("name the file beside the script without `.lua`, folders separated by dots: require \"roles.web\"");
        return Err(lua_error(error));
    }
    let relative = name.replace('.', "/");
    let mut tried: Vec<PathBuf> = Vec::new();
    for folder in folders(&state) {
        let mut files = vec![format!("{relative}.lua"), format!("{relative}/init.lua")];
        let vendored = folder.join(vendored::LOCK).is_file();
        if vendored && !relative.contains('/') {
            // As repositories of a single file have it.
            files.push(format!("{relative}/{relative}.lua"));
        }
        for path in files.iter().map(|file| folder.join(file)) {
            if path.is_file() {
                if vendored {
                    compare(&state, &folder, name.split('.').next().unwrap_or(name));
                }
                let shown = shown_name(&state, &path);
                return Ok((load_path(lua, &state, &path, &shown).map_err(lua_error)??, shown));
            }
            tried.push(path);
        }
    }
    let mut error = Error::new(Kind::Script, format!("there is no module {name:?}"));
    for path in &tried {
        error = error.hint(format!("looked for {}", path.display()));
    }
    if name == "std" {
        error = error.hint("the standard library's modules have names of their own, such as std.debian");
    }
    Err(lua_error(error))
}

/// Returns the folders in which modules are looked for, in order.
fn folders(state: &State) -> Vec<PathBuf> {
    let mut folders = vec![state.settings.script_dir.clone()];
    folders.extend(state.modules.path.borrow().iter().cloned());
    folders.extend(Some(state.settings.resolve(vendored::FOLDER)).filter(|folder| folder.is_dir()));
    folders
}

/// Says, once, when a vendored module is not what its lock says.
fn compare(state: &State, folder: &Path, module: &str) {
    if state.modules.compared.borrow_mut().insert(folder.join(module))
        && let Some(warning) = vendored::warning(folder, module)
    {
        state.ui.warn(format!("{warning}; `rimg vendor verify` looks again, `rimg vendor add --force` gets it anew"));
    }
}

fn no_std_module(name: &str) -> Error {
    let mut modules: Vec<String> = Vec::new();
    collect(&STDLIB, &mut modules);
    modules.sort();
    let error = Error::new(Kind::Script, format!("the standard library has no module {name:?}"));
    let error = match did_you_mean(name, &modules) {
        Some(hint) => error.hint(hint),
        None => error,
    };
    error.hint(format!("it has: {}", modules.join(", ")))
}

fn collect(dir: &Dir<'_>, modules: &mut Vec<String>) {
    for file in dir.files().filter(|file| file.path().extension().is_some_and(|e| e == "lua")) {
        let path = file.path().with_extension("");
        let path = if path.file_name().is_some_and(|name| name == "init") {
            path.parent().unwrap_or(&path).to_owned()
        } else {
            path
        };
        modules.push(format!("std.{}", path.to_string_lossy().replace('/', ".")));
    }
    dir.dirs().for_each(|dir| collect(dir, modules));
}

/// Loads a file as a function without running it; `path` is relative to the script's folder.
pub fn load_file(lua: &Lua, path: &str) -> mlua::Result<Function> {
    let state = state::of(lua)?;
    let path = state.settings.resolve(path);
    let shown = shown_name(&state, &path);
    load_path(lua, &state, &path, &shown).map_err(lua_error)?
}

fn load_path(lua: &Lua, state: &Rc<State>, path: &Path, shown: &str) -> Result<mlua::Result<Function>> {
    let bytes = std::fs::read(path).map_err(|e| io_error("read", path, e))?;
    let source = String::from_utf8(bytes)
        .map_err(|_| Error::new(Kind::Script, format!("{} is not a Lua source file (not UTF-8)", path.display())))?;
    Ok(load(lua, state, shown, source))
}

/// Compiles a chunk under the name that errors show, and keeps its source for them.
pub fn load(lua: &Lua, state: &State, shown: &str, source: String) -> mlua::Result<Function> {
    // A first line that starts with `#` is for the kernel: scripts may be executable.
    let source = if source.starts_with('#') { format!("--{source}") } else { source };
    let result =
        lua.load(source.as_str()).set_name(format!("@{shown}")).set_mode(mlua::chunk::ChunkMode::Text).into_function();
    state.sources.borrow_mut().insert(shown.to_owned(), source);
    result
}

/// Returns the name that errors show for a file: relative to the script's folder where it is inside it.
pub fn shown_name(state: &State, path: &Path) -> String {
    let relative = path.strip_prefix(&state.settings.script_dir).unwrap_or(path);
    let clean: PathBuf = relative.components().filter(|c| !matches!(c, Component::CurDir)).collect();
    clean.display().to_string()
}
