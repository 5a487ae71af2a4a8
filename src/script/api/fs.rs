//! `rimg.fs`: files and folders of this host. Relative paths start at the script's folder.

use std::io::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use mlua::{Lua, LuaString, Table};
use serde::Deserialize;

use super::current::{acts, current};
use super::names::Names;
use crate::engine::BuildCx;
use crate::engine::options::FileMode;
use crate::error::{Error, Kind, Result, io_error};
use crate::host::glob::glob;
use crate::host::{atomic, blocking};
use crate::script::error::{IntoLuaResult, lua_error};
use crate::script::value::{bytes, decode_table, path, string};
use crate::ui::event::Unit;

/// Makes the table of `rimg.fs`.
pub fn module(lua: &Lua) -> mlua::Result<Table> {
    Names::new(lua, "rimg.fs")?
        .function("absolute", absolute)?
        .async_function("append", append)?
        .function("basename", basename)?
        .function("chmod", chmod)?
        .async_function("copy", copy)?
        .function("dirname", dirname)?
        .function("exists", exists)?
        .async_function("glob", find)?
        .function("join", join)?
        .function("list", list)?
        .function("mkdir", mkdir)?
        .async_function("move", rename)?
        .async_function("read", read)?
        .async_function("remove", remove)?
        .function("stat", stat)?
        .function("tempdir", tempdir)?
        .async_function("write", write)?
        .done()
}

/// Takes a path argument of `of` and makes it absolute.
fn resolve(cx: &BuildCx, of: &str, what: &str, value: &mlua::Value) -> mlua::Result<PathBuf> {
    Ok(cx.settings.resolve(path(of, what, value)?))
}

fn lua_path(lua: &Lua, path: &Path) -> mlua::Result<LuaString> {
    lua.create_string(path.as_os_str().as_bytes())
}

fn absolute(lua: &Lua, file: mlua::Value) -> mlua::Result<LuaString> {
    let of = "rimg.fs.absolute";
    let file = resolve(&current(lua, of)?, of, "path", &file)?;
    // Without looking at the disk: `a/../b` is `b`.
    let mut plain = PathBuf::new();
    for part in file.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    lua_path(lua, &plain)
}

fn basename(lua: &Lua, file: mlua::Value) -> mlua::Result<LuaString> {
    let file = path("rimg.fs.basename", "path", &file)?;
    lua.create_string(file.file_name().unwrap_or_default().as_bytes())
}

fn dirname(lua: &Lua, file: mlua::Value) -> mlua::Result<LuaString> {
    let file = path("rimg.fs.dirname", "path", &file)?;
    let parent = match file.parent() {
        None => Path::new("/"),
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
    };
    lua_path(lua, parent)
}

fn join(lua: &Lua, parts: mlua::Variadic<mlua::Value>) -> mlua::Result<LuaString> {
    let mut joined = PathBuf::new();
    for (n, part) in (1..).zip(parts.iter()) {
        joined.push(path("rimg.fs.join", &format!("part {n}"), part)?);
    }
    lua_path(lua, &joined)
}

fn exists(lua: &Lua, file: mlua::Value) -> mlua::Result<bool> {
    let of = "rimg.fs.exists";
    Ok(resolve(&current(lua, of)?, of, "path", &file)?.exists())
}

fn stat(lua: &Lua, file: mlua::Value) -> mlua::Result<Option<Table>> {
    let of = "rimg.fs.stat";
    let file = resolve(&current(lua, of)?, of, "path", &file)?;
    let meta = match std::fs::symlink_metadata(&file) {
        Ok(meta) => meta,
        Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(e) => return Err(lua_error(io_error("read", &file, e).within(of))),
    };
    let kind = match meta.file_type() {
        kind if kind.is_file() => "file",
        kind if kind.is_dir() => "directory",
        kind if kind.is_symlink() => "symlink",
        _ => "other",
    };
    let changed = meta.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    let table = lua.create_table()?;
    table.raw_set("type", kind)?;
    table.raw_set("size", meta.len())?;
    table.raw_set("mode", format!("{:04o}", meta.mode() & 0o7777))?;
    table.raw_set("mtime", changed.as_secs_f64())?;
    Ok(Some(table))
}

fn list(lua: &Lua, dir: mlua::Value) -> mlua::Result<Vec<LuaString>> {
    let of = "rimg.fs.list";
    let dir = resolve(&current(lua, of)?, of, "path", &dir)?;
    let failed = |e| lua_error(io_error("read folder", &dir, e).within(of));
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&dir).map_err(failed)? {
        names.push(entry.map_err(failed)?.file_name());
    }
    names.sort();
    names.iter().map(|name| lua.create_string(name.as_bytes())).collect()
}

async fn find(lua: Lua, pattern: mlua::Value) -> mlua::Result<Vec<LuaString>> {
    let of = "rimg.fs.glob";
    let cx = current(&lua, of)?;
    let pattern = string(of, "pattern", &pattern)?;
    let found = blocking::run(move |cancel| glob(&cx.settings.script_dir, &pattern, cancel)).await;
    let found = found.map_err(|e| lua_error(e.within(of)))?;
    found.iter().map(|path| lua_path(&lua, path)).collect()
}

async fn read(lua: Lua, file: mlua::Value) -> mlua::Result<LuaString> {
    let of = "rimg.fs.read";
    let file = resolve(&current(&lua, of)?, of, "path", &file)?;
    let read = tokio::fs::read(&file).await.map_err(|e| lua_error(io_error("read", &file, e).within(of)))?;
    lua.create_string(read)
}

/// Options of `rimg.fs.write`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WriteOptions {
    /// The file's mode; default that of the file it replaces, else 0666 less the umask.
    pub mode: Option<FileMode>,
}

async fn write(lua: Lua, (file, text, options): (mlua::Value, mlua::Value, mlua::Value)) -> mlua::Result<()> {
    let of = "rimg.fs.write";
    let cx = current(&lua, of)?;
    let file = resolve(&cx, of, "path", &file)?;
    let text = bytes(of, "text", &text)?;
    let options: WriteOptions = decode_table(of, &options)?;
    if !cx.settings.is_live() {
        return Ok(());
    }
    acts(&lua);
    let written = blocking::run(move |_| {
        // Through a symbolic link, as an editor writes; the link itself stays.
        let target = std::fs::canonicalize(&file).unwrap_or(file);
        refuse_folder(&target)?;
        let mode = options.mode.map(|mode| mode.0).or_else(|| {
            let meta = std::fs::metadata(&target).ok()?;
            Some(meta.permissions().mode() & 0o7777)
        });
        let pending = atomic::Pending::beside(&target)?;
        std::fs::write(pending.path(), &text).map_err(|e| io_error("write", &target, e))?;
        if let Some(mode) = mode {
            set_mode(pending.path(), mode)?;
        }
        pending.commit().map(|_| ())
    });
    written.await.map_err(|e| lua_error(e.within(of)))
}

fn refuse_folder(target: &Path) -> Result<()> {
    if target.is_dir() {
        return Err(Error::new(Kind::Io, format!("{} is a folder", target.display())));
    }
    Ok(())
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .map_err(|e| io_error("set the mode of", path, e))
}

async fn append(lua: Lua, (file, text): (mlua::Value, mlua::Value)) -> mlua::Result<()> {
    let of = "rimg.fs.append";
    let cx = current(&lua, of)?;
    let file = resolve(&cx, of, "path", &file)?;
    let text = bytes(of, "text", &text)?;
    if !cx.settings.is_live() {
        return Ok(());
    }
    acts(&lua);
    let appended = blocking::run(move |_| {
        make_parent(&file)?;
        let mut opened = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(&file)
            .map_err(|e| io_error("open", &file, e))?;
        opened.write_all(&text).map_err(|e| io_error("write", &file, e))
    });
    appended.await.map_err(|e| lua_error(e.within(of)))
}

fn make_parent(path: &Path) -> Result<()> {
    match path.parent() {
        Some(parent) => std::fs::create_dir_all(parent).map_err(|e| io_error("create folder", parent, e)),
        None => Ok(()),
    }
}

fn chmod(lua: &Lua, (file, mode): (mlua::Value, mlua::Value)) -> mlua::Result<()> {
    let of = "rimg.fs.chmod";
    let cx = current(lua, of)?;
    let file = resolve(&cx, of, "path", &file)?;
    let mode: FileMode = decode_table(&format!("{of}: mode"), &mode)?;
    if !cx.settings.is_live() {
        return Ok(());
    }
    acts(lua);
    set_mode(&file, mode.0).map_err(|e| lua_error(e.within(of)))
}

fn mkdir(lua: &Lua, dir: mlua::Value) -> mlua::Result<()> {
    let of = "rimg.fs.mkdir";
    let cx = current(lua, of)?;
    let dir = resolve(&cx, of, "path", &dir)?;
    if !cx.settings.is_live() {
        return Ok(());
    }
    acts(lua);
    std::fs::create_dir_all(&dir).map_err(|e| lua_error(io_error("create folder", &dir, e).within(of)))
}

fn tempdir(lua: &Lua, name: mlua::Value) -> mlua::Result<LuaString> {
    let of = "rimg.fs.tempdir";
    let cx = current(lua, of)?;
    let name = if name.is_nil() { "temp".to_owned() } else { string(of, "name", &name)? };
    if name.is_empty() || name.contains(['/', '\0']) {
        let message = format!("{of}: name: {name:?} is not the name of a folder, expected one without slashes");
        return Err(lua_error(Error::new(Kind::Option, message)));
    }
    // The work folder is the run's own, so that `rimg check` may use it too: nothing of it is left.
    lua_path(lua, &cx.private_dir(&name).into_lua_result()?)
}

async fn remove(lua: Lua, file: mlua::Value) -> mlua::Result<bool> {
    let of = "rimg.fs.remove";
    let cx = current(&lua, of)?;
    let file = resolve(&cx, of, "path", &file)?;
    refuse_precious(&cx, &file).map_err(|e| lua_error(e.within(of)))?;
    if !cx.settings.is_live() {
        return Ok(file.symlink_metadata().is_ok());
    }
    acts(&lua);
    let removed = blocking::run(move |_| {
        let Ok(meta) = file.symlink_metadata() else { return Ok(false) };
        let result = if meta.is_dir() { std::fs::remove_dir_all(&file) } else { std::fs::remove_file(&file) };
        result.map(|()| true).map_err(|e| io_error("remove", &file, e))
    });
    removed.await.map_err(|e| lua_error(e.within(of)))
}

/// Refuses to remove or move away what holds the script, the user's home, or rimg's own folders.
fn refuse_precious(cx: &BuildCx, file: &Path) -> Result<()> {
    // The folder is resolved, the last part is not: a link is removed, not what it points to.
    let place = match (file.parent(), file.file_name()) {
        (Some(parent), Some(name)) => parent.canonicalize().unwrap_or_else(|_| parent.to_owned()).join(name),
        _ => file.canonicalize().unwrap_or_else(|_| file.to_owned()),
    };
    let settings = &cx.settings;
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let precious = [
        ("the script's folder", Some(settings.script_dir.clone())),
        ("the home folder", home),
        ("the working folder", std::env::current_dir().ok()),
        ("rimg's cache", Some(settings.cache_dir.clone())),
        ("rimg's state", Some(settings.state_dir.clone())),
        ("the run's work folder", Some(settings.work_dir.clone())),
    ];
    for (what, kept) in precious {
        let Some(kept) = kept else { continue };
        let kept = kept.canonicalize().unwrap_or(kept);
        if kept == place {
            return Err(Error::new(Kind::Io, format!("{} is {what}, which stays", place.display())));
        }
        if kept.starts_with(&place) {
            let message = format!("{} holds {what} ({}), which stays", place.display(), kept.display());
            return Err(Error::new(Kind::Io, message));
        }
    }
    Ok(())
}

async fn rename(lua: Lua, (from, to): (mlua::Value, mlua::Value)) -> mlua::Result<()> {
    let of = "rimg.fs.move";
    let cx = current(&lua, of)?;
    let from = resolve(&cx, of, "from", &from)?;
    let to = resolve(&cx, of, "to", &to)?;
    refuse_precious(&cx, &from).map_err(|e| lua_error(e.within(of)))?;
    if !cx.settings.is_live() {
        return Ok(());
    }
    acts(&lua);
    let moved = blocking::run(move |cancel| {
        make_parent(&to)?;
        match std::fs::rename(&from, &to) {
            Err(e) if e.kind() == std::io::ErrorKind::CrossesDevices => {
                copy_whole(&from, &to, cancel, &|_| {})?;
                atomic::remove(&from);
                Ok(())
            }
            result => result.map_err(|e| io_error(&format!("move {} to", from.display()), &to, e)),
        }
    });
    moved.await.map_err(|e| lua_error(e.within(of)))
}

async fn copy(lua: Lua, (from, to): (mlua::Value, mlua::Value)) -> mlua::Result<()> {
    let of = "rimg.fs.copy";
    let cx = current(&lua, of)?;
    let from = resolve(&cx, of, "from", &from)?;
    let to = resolve(&cx, of, "to", &to)?;
    if !cx.settings.is_live() {
        return Ok(());
    }
    acts(&lua);
    let name = from.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let copied = blocking::run(move |cancel| {
        let progress = cx.ui.progress(format!("copying {name}"), None, Unit::Files);
        copy_whole(&from, &to, cancel, &|n| progress.add(n))
    });
    copied.await.map_err(|e| lua_error(e.within(of)))
}

/// Copies a file or a whole folder; `to` is its new name, and appears whole.
pub(super) fn copy_whole(from: &Path, to: &Path, cancel: &blocking::Cancel, advance: &dyn Fn(u64)) -> Result<()> {
    let is_tree = from.symlink_metadata().map_err(|e| io_error("read", from, e))?.is_dir();
    if is_tree && to.exists() {
        return Err(Error::new(Kind::Exists, format!("{} exists already", to.display()))
            .hint("remove it first with rimg.fs.remove, or copy its files one by one"));
    }
    if !is_tree {
        refuse_folder(to).map_err(|e| e.hint("name the new file, not the folder it goes into"))?;
    }
    let inside = |path: &Path| path.canonicalize().ok();
    if let (true, Some(from), Some(parent)) = (is_tree, inside(from), to.parent().and_then(inside))
        && parent.starts_with(&from)
    {
        return Err(Error::new(Kind::Io, format!("{} is inside of {}", to.display(), from.display())));
    }
    let pending = atomic::Pending::beside(to)?;
    copy_into(from, pending.path(), is_tree, cancel, advance)?;
    pending.commit().map(|_| ())
}

/// Copies with modes; a symbolic link inside of a tree stays one.
fn copy_into(from: &Path, to: &Path, keep_links: bool, cancel: &blocking::Cancel, advance: &dyn Fn(u64)) -> Result<()> {
    cancel.check()?;
    let meta = from.symlink_metadata().map_err(|e| io_error("read", from, e))?;
    if meta.is_dir() {
        std::fs::create_dir(to).map_err(|e| io_error("create folder", to, e))?;
        for entry in std::fs::read_dir(from).map_err(|e| io_error("read folder", from, e))? {
            let name = entry.map_err(|e| io_error("read folder", from, e))?.file_name();
            copy_into(&from.join(&name), &to.join(&name), true, cancel, advance)?;
        }
        // Last: a folder without write permission could not be filled.
        return set_mode(to, meta.mode() & 0o7777);
    }
    if meta.is_symlink() && keep_links {
        let link = std::fs::read_link(from).map_err(|e| io_error("read", from, e))?;
        std::os::unix::fs::symlink(link, to).map_err(|e| io_error("create link", to, e))?;
    } else if from.metadata().is_ok_and(|meta| meta.is_file()) {
        std::fs::copy(from, to).map_err(|e| io_error("copy", from, e))?;
    } else {
        let message = format!("cannot copy {}: it is neither a file nor a folder", from.display());
        return Err(Error::new(Kind::Unsupported, message));
    }
    advance(1);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::World;
    use super::*;
    use crate::engine::Mode;

    fn register(lua: &Lua, rimg: &Table) -> mlua::Result<()> {
        rimg.set("fs", module(lua)?)
    }

    #[test]
    fn writes_and_reads_with_modes() {
        let world = World::new(register);
        world.ok(r#"
            local fs = rimg.fs
            fs.write("a/b/c.txt", "one\0\255", { mode = "0640" })
            assert(fs.read("a/b/c.txt") == "one\0\255" and fs.stat("a/b/c.txt").mode == "0640")
            fs.write("a/b/c.txt", "two")
            assert(fs.stat("a/b/c.txt").mode == "0640" and fs.stat("a/b/c.txt").size == 3)
            fs.append("a/b/c.txt", "+")
            fs.append("new/log", "x")
            assert(fs.read("a/b/c.txt") == "two+" and fs.exists("new/log"))
            fs.chmod("new/log", "0600")
            assert(fs.stat("new/log").mode == "0600" and fs.stat("new").type == "directory")
            assert(fs.stat("nothing") == nil and not fs.exists("nothing") and fs.stat("new/log/x") == nil)
            assert(table.concat(fs.list("."), " ") == "a new")
            fs.mkdir("d/e"); fs.mkdir("d/e")
            assert(fs.stat("d/e").type == "directory")
            assert(fs.basename("/x/y.txt") == "y.txt" and fs.dirname("/x/y.txt") == "/x" and fs.dirname("y") == ".")
            assert(fs.join("a", "b") == "a/b" and fs.join("a", "/b") == "/b")
            assert(fs.absolute("x/./../y"):match("/script/y$"))
        "#);
        // Nothing half-written is left beside it.
        assert_eq!(std::fs::read_dir(world.script_dir().join("a/b")).unwrap().count(), 1);
    }

    #[test]
    fn writing_through_a_link_keeps_the_link() {
        let world = World::new(register);
        std::os::unix::fs::symlink("real", world.script_dir().join("link")).unwrap();
        world.ok("rimg.fs.write('real', '1'); rimg.fs.write('link', '2'); assert(rimg.fs.read('real') == '2')");
        world.ok("assert(rimg.fs.stat('link').type == 'symlink')");
    }

    #[test]
    fn copies_moves_and_removes_trees() {
        let world = World::new(register);
        world.ok(r#"
            local fs = rimg.fs
            fs.write("t/run.sh", "x", { mode = "0755" })
            fs.write("t/sub/f", "y")
            fs.copy("t", "u/v")
            assert(fs.read("u/v/sub/f") == "y" and fs.stat("u/v/run.sh").mode == "0755")
            fs.copy("t/sub/f", "g")
            fs.move("g", "h/i")
            assert(fs.read("h/i") == "y" and not fs.exists("g"))
            assert(fs.remove("u") == true and fs.remove("u") == false and not fs.exists("u"))
        "#);
        assert_eq!(world.err("rimg.fs.copy('t', 'h')").kind(), Kind::Exists);
        assert!(world.err("rimg.fs.copy('t', 't/t2')").message().contains("is inside of"));
        assert!(world.err("rimg.fs.copy('h/i', 't')").hints()[0].contains("name the new file"));
        let left = std::fs::read_dir(world.script_dir()).unwrap().count();
        assert_eq!(left, 2, "no pending copy is left");
    }

    #[test]
    fn refuses_to_remove_what_holds_the_run() {
        let world = World::new(register);
        world.ok("rimg.fs.mkdir 'sub'");
        for precious in ["'.'", "'..'", "'/'", "os.getenv 'HOME'", "'../script'", "'sub/..'", "'sub/../.'"] {
            let error = world.err(&format!("rimg.fs.remove({precious})"));
            assert!(error.message().contains("which stays"), "{precious}: {error}");
        }
        assert!(world.err("rimg.fs.move('.', '/tmp/x')").message().contains("which stays"));
        assert!(world.script_dir().exists());
    }

    #[test]
    fn a_temporary_folder_is_private_and_goes_with_the_build() {
        let world = World::new(register);
        let dir: String = world.run("return rimg.fs.tempdir 'seed'").unwrap();
        let meta = std::fs::metadata(&dir).unwrap();
        assert_eq!(meta.permissions().mode() & 0o777, 0o700);
        world.ok("rimg.fs.write(rimg.fs.tempdir() .. '/f', 'x')");
        assert!(world.block_on(world.cx.resources.release_all()).is_empty());
        assert!(!Path::new(&dir).exists());
        assert!(world.err("rimg.fs.tempdir '../x'").message().contains("without slashes"));
    }

    #[test]
    fn errors_name_the_full_path() {
        let world = World::new(register);
        let error = world.err("return rimg.fs.read('no/such')");
        let full = world.script_dir().join("no/such").display().to_string();
        assert!(
            error.message().starts_with("rimg.fs.read: cannot read ") && error.message().contains(&full),
            "{error}"
        );
        assert!(world.err("rimg.fs.write('f', 'x', { mode = 644 })").message().contains("octal string"));
        assert!(world.err("rimg.fs.write('.', 'x')").message().contains("is a folder"));
        assert!(world.err("rimg.fs.read('')").message().contains("empty string"));
        assert!(world.err("rimg.fs.write('f', {})").message().contains("text: expected a string, found a table"));
        assert_eq!(world.err("rimg.fs.reed('f')").hints(), ["did you mean `read`?"]);
    }

    #[test]
    fn check_writes_nothing() {
        let world = World::with_mode(Mode::Check, register);
        std::fs::write(world.script_dir().join("kept"), "x").unwrap();
        world.ok("rimg.fs.write('a', 'x'); rimg.fs.mkdir('b'); rimg.fs.copy('kept', 'c'); rimg.fs.append('d', 'x')");
        world.ok("assert(rimg.fs.remove('kept') and rimg.fs.read('kept') == 'x'); rimg.fs.move('kept', 'e')");
        assert_eq!(std::fs::read_dir(world.script_dir()).unwrap().count(), 1);
    }
}
