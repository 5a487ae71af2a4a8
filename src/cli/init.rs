//! `rimg init`: a first script, and what an editor needs to complete and check it.

use std::path::Path;

use super::args::InitArgs;
use super::dispatch::Exit;
use super::{out, types};
use crate::error::{Result, io_error};
use crate::host::atomic;

const SCRIPT: &str = include_str!("init/build.lua");
const LUARC: &str = include_str!("init/luarc.json");

/// Writes `build.lua`, `.luarc.json` and the annotations.
pub fn init(args: &InitArgs) -> Result<Exit> {
    let dir = std::path::absolute(&args.dir).map_err(|e| io_error("find", &args.dir, e))?;
    let script = dir.join("build.lua");
    atomic::refuse_existing(&script, args.force)?;
    let luarc = dir.join(".luarc.json");
    // An editor's settings are the user's own: they are never replaced unasked.
    let keeps_luarc = !args.force && luarc.exists();
    std::fs::create_dir_all(&dir).map_err(|e| io_error("create folder", &dir, e))?;
    atomic::write(&script, SCRIPT.as_bytes())?;
    if !keeps_luarc {
        atomic::write(&luarc, LUARC.as_bytes())?;
    }
    let count = types::write(&dir.join(types::FOLDER))?.len();
    out::print(&message(&dir, keeps_luarc, count))?;
    Ok(Exit::Done)
}

fn message(dir: &Path, keeps_luarc: bool, count: usize) -> String {
    let luarc = if keeps_luarc {
        format!("  .luarc.json      kept as it was; add \"{}\" to its workspace.library\n", types::FOLDER)
    } else {
        "  .luarc.json      settings of the Lua language server\n".to_owned()
    };
    format!(
        "Wrote to {}:\n  build.lua        a script to start from\n{luarc}  {:<15}  annotations of the API ({count} files)\n\n\
         Next: `rimg doctor` says what this host can build, `rimg check build.lua` tries the script without a machine.\n",
        dir.display(),
        format!("{}/", types::FOLDER),
    )
}
