//! `rimg vendor`: Lua modules from elsewhere, kept beside the script; a run fetches nothing.

mod add;
mod archive;
mod git;

use std::path::{Path, PathBuf};

use super::args::{VendorArgs, VendorCommand};
use super::dispatch::Exit;
use super::out;
use crate::engine::options::did_you_mean;
use crate::error::{Error, Kind, Result, io_error};
use crate::script::vendored::{FOLDER, Lock};

/// Does what the command line says with the modules of the current folder.
pub fn vendor(args: VendorArgs) -> Result<Exit> {
    let here = std::env::current_dir().map_err(|e| io_error("find", ".", e))?;
    let folder = here.join(FOLDER);
    match args.command {
        VendorCommand::Add(args) => add::add(&folder, args),
        VendorCommand::Ls(args) => list(&folder, args.json),
        VendorCommand::Verify(args) => verify(&folder, args.names),
        VendorCommand::Rm(args) => remove(&folder, &args.names),
    }
}

fn list(folder: &Path, json: bool) -> Result<Exit> {
    let lock = Lock::read(folder)?;
    if json {
        out::print_json(&lock)?;
        return Ok(Exit::Done);
    }
    let mut text = String::new();
    for (name, entry) in &lock.modules {
        let what = match (&entry.commit, &entry.rev) {
            (Some(commit), Some(rev)) => format!("{} ({rev})", commit.get(..12).unwrap_or(commit)),
            (Some(commit), None) => commit.get(..12).unwrap_or(commit).to_owned(),
            (None, _) => entry.checksum.clone().unwrap_or_default(),
        };
        let path = entry.path.as_ref().map(|path| format!(" {path}/")).unwrap_or_default();
        text.push_str(&format!("{name}  {}{path}  {what}\n", entry.url));
    }
    if text.is_empty() {
        text = format!("There are no modules in {FOLDER}.\n");
    }
    out::print(&text)?;
    Ok(Exit::Done)
}

fn verify(folder: &Path, names: Vec<String>) -> Result<Exit> {
    let lock = Lock::read(folder)?;
    let names = if names.is_empty() { all(folder, &lock)? } else { known(&lock, names)? };
    let mut exit = Exit::Done;
    for name in names {
        let changes = lock.changes(folder, &name)?;
        if changes.is_empty() {
            out::print(&format!("{name}: as it was fetched\n"))?;
        }
        for change in changes {
            exit = Exit::Failed;
            out::print(&format!("{name}: {change}\n"))?;
        }
    }
    Ok(exit)
}

/// Returns the modules that the lock names, and the folders that it does not.
fn all(folder: &Path, lock: &Lock) -> Result<Vec<String>> {
    let mut names: Vec<String> = lock.modules.keys().cloned().collect();
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(_) => return Ok(names),
    };
    for entry in entries {
        let entry = entry.map_err(|e| io_error("read the folder", folder, e))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() && !name.starts_with('.') && !lock.modules.contains_key(&name) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn known(lock: &Lock, names: Vec<String>) -> Result<Vec<String>> {
    let there: Vec<String> = lock.modules.keys().cloned().collect();
    for name in &names {
        if !there.contains(name) {
            let error = Error::new(Kind::Usage, format!("there is no module {name} in {FOLDER}"));
            return Err(match did_you_mean(name, &there) {
                Some(hint) => error.hint(hint),
                None => error.hint("`rimg vendor ls` shows which there are"),
            });
        }
    }
    Ok(names)
}

fn remove(folder: &Path, names: &[String]) -> Result<Exit> {
    let mut lock = Lock::read(folder)?;
    for name in known(&lock, names.to_vec())? {
        let dir: PathBuf = folder.join(&name);
        match std::fs::remove_dir_all(&dir) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(io_error("remove", &dir, e)),
            _ => lock.modules.remove(&name),
        };
        lock.write(folder)?;
        out::print(&format!("Removed {name}\n"))?;
    }
    Ok(Exit::Done)
}
