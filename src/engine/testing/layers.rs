//! Folders as a chain of layers: each holds the content that those before it have not, and a list of all there is.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result, io_error};

/// What is in a folder, by relative path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing(pub BTreeMap<String, Entry>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry {
    Folder {
        mode: u32,
    },
    Link(PathBuf),
    /// A file, whose content is in the layer that first had it.
    File {
        mode: u32,
        digest: String,
        at: PathBuf,
    },
}

/// Keeps what is in `folder` in `layer`, but for content that `base` has.
pub fn keep(folder: &Path, layer: &Path, base: Option<&Listing>) -> Result<Listing> {
    let mut known: BTreeMap<&str, &Path> = BTreeMap::new();
    for entry in base.iter().flat_map(|base| base.0.values()) {
        if let Entry::File { digest, at, .. } = entry {
            known.insert(digest, at);
        }
    }
    let mut listing = Listing::default();
    walk(folder, Path::new(""), &mut |path, meta| {
        let mode = meta.permissions().mode() & 0o7777;
        let name = path.strip_prefix(folder).unwrap_or(path).display().to_string();
        let entry = if meta.is_dir() {
            Entry::Folder { mode }
        } else if meta.is_symlink() {
            Entry::Link(std::fs::read_link(path).map_err(|e| io_error("read", path, e))?)
        } else {
            let content = std::fs::read(path).map_err(|e| io_error("read", path, e))?;
            let digest = blake3::hash(&content).to_hex().to_string();
            let at = match known.get(digest.as_str()) {
                Some(at) => at.to_path_buf(),
                None => {
                    let at = layer.join(&digest);
                    std::fs::write(&at, &content).map_err(|e| io_error("write", &at, e))?;
                    at
                }
            };
            Entry::File { mode, digest, at }
        };
        listing.0.insert(name, entry);
        Ok(())
    })?;
    Ok(listing)
}

/// Makes `folder`, which is empty, what it was; content that is not what it was is an error.
pub fn restore(listing: &Listing, folder: &Path) -> Result<()> {
    for (name, entry) in &listing.0 {
        let path = folder.join(name);
        match entry {
            Entry::Folder { .. } => std::fs::create_dir_all(&path).map_err(|e| io_error("create", &path, e))?,
            Entry::Link(target) => symlink(target, &path).map_err(|e| io_error("create", &path, e))?,
            Entry::File { mode, digest, at } => {
                let content = std::fs::read(at).map_err(|e| io_error("read", at, e))?;
                if blake3::hash(&content).to_hex().as_str() != digest {
                    return Err(Error::new(Kind::Checksum, format!("{} is damaged", at.display())));
                }
                std::fs::write(&path, content).map_err(|e| io_error("write", &path, e))?;
                set_mode(&path, *mode)?;
            }
        }
    }
    for (name, entry) in listing.0.iter().rev() {
        if let Entry::Folder { mode } = entry {
            set_mode(&folder.join(name), *mode)?;
        }
    }
    Ok(())
}

/// Copies the content of a folder into another, which is made where it is not there.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to).map_err(|e| io_error("create", to, e))?;
    walk(from, Path::new(""), &mut |path, meta| {
        let target = to.join(path.strip_prefix(from).unwrap_or(path));
        let fault = |e| io_error("copy", path, e);
        if meta.is_dir() {
            std::fs::create_dir_all(&target).map_err(fault)?;
            return set_mode(&target, meta.permissions().mode());
        }
        let _ = std::fs::remove_file(&target);
        if meta.is_symlink() {
            symlink(std::fs::read_link(path).map_err(fault)?, &target).map_err(fault)
        } else {
            std::fs::copy(path, &target).map(drop).map_err(fault)
        }
    })
}

/// Returns what is in a folder: path, mode and content or target of each thing, for comparison.
pub fn contents(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    walk(folder, Path::new(""), &mut |path, meta| {
        let name = path.strip_prefix(folder).unwrap_or(path).display().to_string();
        let text = if meta.is_dir() {
            "folder".to_owned()
        } else if meta.is_symlink() {
            format!("-> {}", std::fs::read_link(path).map_err(|e| io_error("read", path, e))?.display())
        } else {
            String::from_utf8_lossy(&std::fs::read(path).map_err(|e| io_error("read", path, e))?).into_owned()
        };
        all.insert(name, format!("{:o} {text}", meta.permissions().mode() & 0o7777));
        Ok(())
    })?;
    Ok(all)
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    let mode = std::fs::Permissions::from_mode(mode & 0o7777);
    std::fs::set_permissions(path, mode).map_err(|e| io_error("set the mode of", path, e))
}

/// Visits all that is below a folder, parents first.
fn walk(root: &Path, inside: &Path, visit: &mut impl FnMut(&Path, &std::fs::Metadata) -> Result<()>) -> Result<()> {
    let folder = root.join(inside);
    let fault = |e| io_error("read", &folder, e);
    let mut names: Vec<_> = std::fs::read_dir(&folder)
        .map_err(fault)?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<std::io::Result<_>>()
        .map_err(fault)?;
    names.sort();
    for name in names {
        let path = folder.join(&name);
        let meta = std::fs::symlink_metadata(&path).map_err(|e| io_error("read", &path, e))?;
        visit(&path, &meta)?;
        if meta.is_dir() {
            walk(root, &inside.join(&name), visit)?;
        }
    }
    Ok(())
}
