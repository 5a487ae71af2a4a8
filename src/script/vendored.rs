//! Modules from elsewhere, as `rimg vendor` keeps them: a folder each in `lua_modules/`, and a lock that says what they were.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result, io_error};
use crate::host::atomic;
use crate::host::blocking::Cancel;
use crate::host::digest::{self, Algorithm};

/// The folder beside the script that they are in.
pub const FOLDER: &str = "lua_modules";
/// The file in it that says what they were when they came.
pub const LOCK: &str = "lock.json";
/// The lock's format.
const VERSION: u32 = 1;
/// How many changed files a warning names.
const NAMED: usize = 5;

/// What `lua_modules/lock.json` holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    pub version: u32,
    pub modules: BTreeMap<String, Entry>,
}

/// Where a module came from, and what it was then.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Without user and password.
    pub url: String,
    /// The branch, tag or commit that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rev: Option<String>,
    /// The commit that it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Of the archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
    /// The folder in it that is the module, where that is not all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Over all files: see [`digest`].
    pub digest: String,
    /// The SHA-256 of each file, or `-> TARGET` of a link.
    pub files: BTreeMap<String, String>,
}

impl Default for Lock {
    fn default() -> Lock {
        Lock { version: VERSION, modules: BTreeMap::new() }
    }
}

impl Lock {
    /// Reads the lock in `folder`; one that is not there is empty.
    pub fn read(folder: &Path) -> Result<Lock> {
        let path = folder.join(LOCK);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Lock::default()),
            Err(e) => return Err(io_error("read", &path, e)),
        };
        let lock: Lock = serde_json::from_str(&text).map_err(|e| {
            Error::new(Kind::Io, format!("{} is not what `rimg vendor` wrote", path.display())).caused_by(e)
        })?;
        if lock.version != VERSION {
            let message = format!("{} has version {}, and this rimg reads {VERSION}", path.display(), lock.version);
            return Err(Error::new(Kind::Unsupported, message).hint("it was written by a newer rimg"));
        }
        Ok(lock)
    }

    /// Writes it to `folder`, the same text for the same modules.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|e| Error::new(Kind::Internal, "cannot write the lock as JSON").caused_by(e))?;
        atomic::write(&folder.join(LOCK), format!("{text}\n").as_bytes()).map(drop)
    }

    /// Returns what of a module in `folder` is not as it was when it came, one text each.
    pub fn changes(&self, folder: &Path, name: &str) -> Result<Vec<String>> {
        let Some(entry) = self.modules.get(name) else { return Ok(vec![format!("it is not in {LOCK}")]) };
        let dir = folder.join(name);
        if !dir.is_dir() {
            return Ok(vec!["its folder is missing".to_owned()]);
        }
        let found = files(&dir)?;
        let mut changes: Vec<String> = Vec::new();
        for (path, digest) in &entry.files {
            match found.get(path) {
                Some(now) if now == digest => {}
                Some(_) => changes.push(format!("{path} has changed")),
                None => changes.push(format!("{path} is missing")),
            }
        }
        changes
            .extend(found.keys().filter(|path| !entry.files.contains_key(*path)).map(|path| format!("{path} is new")));
        if changes.is_empty() && digest(&found) != entry.digest {
            changes.push(format!("{LOCK} was edited"));
        }
        Ok(changes)
    }
}

/// Returns the warning for a module that is not what it was; none when it is.
pub fn warning(folder: &Path, name: &str) -> Option<String> {
    let changes = match Lock::read(folder).and_then(|lock| lock.changes(folder, name)) {
        Ok(changes) if changes.is_empty() => return None,
        Ok(changes) => changes,
        Err(error) => vec![error.full_message()],
    };
    let shown = changes.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    let more = changes.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    Some(format!("the module {name} in {} is not what was vendored: {shown}{more}", folder.display()))
}

/// Returns the files of a module's folder, each with its SHA-256. A link that leads outside is an error.
pub fn files(dir: &Path) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        let failed = |e| io_error("read the folder", &folder, e);
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let kind = std::fs::symlink_metadata(&path).map_err(|e| io_error("read", &path, e))?.file_type();
            let inside = path.strip_prefix(dir).unwrap_or(&path);
            let name = inside.to_string_lossy().into_owned();
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_symlink() {
                let target = std::fs::read_link(&path).map_err(|e| io_error("read the link", &path, e))?;
                if !stays_inside(inside, &target) {
                    let message = format!("{name} is a link that leads out of the module: {}", target.display());
                    return Err(Error::new(Kind::Io, message).hint("a module must be whole in its own folder"));
                }
                found.insert(name, format!("-> {}", target.display()));
            } else if kind.is_file() {
                let digests = digest::of_file(&path, &[Algorithm::Sha256], &Cancel::default(), &|_| {})?;
                found.insert(name, digests.into_iter().next().unwrap_or_default());
            } else {
                return Err(Error::new(Kind::Io, format!("{name} is neither file, folder nor link")));
            }
        }
    }
    Ok(found)
}

/// Returns the digest over all files: the SHA-256 of their lines as `sha256sum` writes them, in order.
pub fn digest(files: &BTreeMap<String, String>) -> String {
    let lines: String = files.iter().map(|(path, digest)| format!("{digest}  {path}\n")).collect();
    format!("sha256:{}", digest::of_bytes(Algorithm::Sha256, lines.as_bytes()))
}

/// Tells whether a link's target is below the folder that `link` is relative to.
fn stays_inside(link: &Path, target: &Path) -> bool {
    let mut depth = link.components().count().saturating_sub(1);
    for part in target.components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            _ => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(dir: &Path) -> Lock {
        std::fs::create_dir_all(dir.join("m/sub")).unwrap();
        std::fs::write(dir.join("m/init.lua"), "return 1").unwrap();
        std::fs::write(dir.join("m/sub/a.lua"), "return 2").unwrap();
        std::os::unix::fs::symlink("sub/a.lua", dir.join("m/a.lua")).unwrap();
        let files = files(&dir.join("m")).unwrap();
        let entry = Entry { url: "u".into(), digest: digest(&files), files, ..Entry::default() };
        Lock { modules: BTreeMap::from([("m".to_owned(), entry)]), ..Lock::default() }
    }

    #[test]
    fn a_lock_is_read_as_it_was_written_and_every_change_is_named() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Lock::read(dir.path()).unwrap(), Lock::default());
        let lock = module(dir.path());
        lock.write(dir.path()).unwrap();
        assert_eq!(Lock::read(dir.path()).unwrap(), lock);
        assert_eq!(warning(dir.path(), "m"), None);
        std::fs::write(dir.path().join("m/init.lua"), "return 3").unwrap();
        std::fs::write(dir.path().join("m/new.lua"), "").unwrap();
        std::fs::remove_file(dir.path().join("m/a.lua")).unwrap();
        let changes = lock.changes(dir.path(), "m").unwrap();
        assert_eq!(changes, ["a.lua is missing", "init.lua has changed", "new.lua is new"]);
        assert!(warning(dir.path(), "m").unwrap().contains("init.lua has changed"));
        assert_eq!(lock.changes(dir.path(), "n").unwrap(), ["it is not in lock.json"]);
        std::fs::remove_dir_all(dir.path().join("m")).unwrap();
        assert_eq!(lock.changes(dir.path(), "m").unwrap(), ["its folder is missing"]);
        std::fs::write(dir.path().join(LOCK), "{}").unwrap();
        assert!(warning(dir.path(), "m").unwrap().contains("is not what `rimg vendor` wrote"));
        std::fs::write(dir.path().join(LOCK), r#"{"version": 9, "modules": {}}"#).unwrap();
        assert_eq!(Lock::read(dir.path()).unwrap_err().kind(), Kind::Unsupported);
    }

    #[test]
    fn an_edited_lock_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let mut lock = module(dir.path());
        std::fs::write(dir.path().join("m/init.lua"), "return 3").unwrap();
        lock.modules.get_mut("m").unwrap().files = files(&dir.path().join("m")).unwrap();
        assert_eq!(lock.changes(dir.path(), "m").unwrap(), ["lock.json was edited"]);
    }

    #[test]
    fn links_stay_inside() {
        for (link, target, inside) in [
            ("a", "b", true),
            ("a", "../b", false),
            ("s/a", "../b", true),
            ("s/a", "../../b", false),
            ("a", "/etc/passwd", false),
            ("s/a", "../x/../../b", false),
        ] {
            assert_eq!(stays_inside(Path::new(link), Path::new(target)), inside, "{link} -> {target}");
        }
    }
}
