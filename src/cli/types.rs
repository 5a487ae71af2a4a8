//! `rimg types`: the annotations of the Lua API, which are part of the binary.

use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};

use super::args::TypesArgs;
use super::dispatch::Exit;
use super::out;
use crate::error::{Result, io_error};

/// Where a project keeps the annotations, from its own folder.
pub const FOLDER: &str = ".rimg/types";

static TYPES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/lua/types");

/// Writes the annotations.
pub fn types(args: &TypesArgs) -> Result<Exit> {
    let dir = std::path::absolute(&args.dir).map_err(|e| io_error("find", &args.dir, e))?;
    let files = write(&dir)?;
    out::print(&format!("Wrote {} files to {}.\n", files.len(), dir.display()))?;
    Ok(Exit::Done)
}

/// Writes every annotation file to a folder, over those of an earlier version, and returns their paths.
pub fn write(dir: &Path) -> Result<Vec<PathBuf>> {
    std::fs::create_dir_all(dir).map_err(|e| io_error("create folder", dir, e))?;
    let mut written = Vec::new();
    for file in TYPES.files() {
        let path = dir.join(file.path());
        std::fs::write(&path, file.contents()).map_err(|e| io_error("write", &path, e))?;
        written.push(path);
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_annotation_file_is_embedded() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("lua/types");
        let dir = tempfile::tempdir().unwrap();
        let mut written = write(dir.path()).unwrap();
        written.sort();
        let mut expected: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        expected.sort();
        let names: Vec<_> = written.iter().map(|path| path.file_name().unwrap().to_owned()).collect();
        assert_eq!(names, expected, "a new file is only seen when src/cli/types.rs is compiled again");
        for path in written {
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.starts_with("---@meta"), "{} is no annotation file", path.display());
        }
    }
}
