//! Paths that match a pattern, as a shell finds them.

use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

use crate::error::{Error, Kind, Result};
use crate::host::blocking::Cancel;

/// A part of a pattern, between slashes.
enum Part {
    Literal(String),
    /// Names that match; a hidden one only where the pattern itself begins with a dot.
    Pattern(GlobMatcher, bool),
    /// `**`: any folders, none included.
    Deep,
}

/// Returns the paths that match, sorted; those of a relative pattern are relative to `base`.
pub fn glob(base: &Path, pattern: &str, cancel: &Cancel) -> Result<Vec<PathBuf>> {
    if pattern.is_empty() {
        return Err(Error::new(
            Kind::Option,
            "pattern: expected a pattern such as \"files/*.sh\", found an empty string",
        ));
    }
    let parts = pattern.split('/').filter(|part| !part.is_empty() && *part != ".").map(parse);
    let parts = parts.collect::<Result<Vec<Part>>>()?;
    let start = if pattern.starts_with('/') { PathBuf::from("/") } else { PathBuf::new() };
    let mut found = Vec::new();
    walk(base, &start, &parts, cancel, &mut found)?;
    found.sort();
    found.dedup();
    Ok(found)
}

fn parse(part: &str) -> Result<Part> {
    if part == "**" {
        return Ok(Part::Deep);
    }
    if !part.contains(['*', '?', '[', '{', '\\']) {
        return Ok(Part::Literal(part.to_owned()));
    }
    let glob = GlobBuilder::new(part).literal_separator(true).backslash_escape(true).build().map_err(|e| {
        Error::new(Kind::Option, format!("pattern: {part:?}: {}", e.kind()))
            .hint("braces and brackets have to close before the next slash")
    })?;
    Ok(Part::Pattern(glob.compile_matcher(), part.starts_with('.')))
}

fn walk(base: &Path, at: &Path, parts: &[Part], cancel: &Cancel, found: &mut Vec<PathBuf>) -> Result<()> {
    cancel.check()?;
    let Some((part, rest)) = parts.split_first() else {
        if !at.as_os_str().is_empty() {
            found.push(at.to_owned());
        }
        return Ok(());
    };
    match part {
        Part::Literal(name) => {
            let next = at.join(name);
            if base.join(&next).symlink_metadata().is_ok() {
                walk(base, &next, rest, cancel, found)?;
            }
        }
        Part::Pattern(matcher, hidden) => {
            for name in names(&base.join(at)) {
                if matcher.is_match(&name) && (*hidden || !is_hidden(&name)) {
                    walk(base, &at.join(&name), rest, cancel, found)?;
                }
            }
        }
        Part::Deep => {
            if rest.is_empty() {
                // `dir/**` is everything below.
                for name in names(&base.join(at)).filter(|name| !is_hidden(name)) {
                    found.push(at.join(name));
                }
            } else {
                walk(base, at, rest, cancel, found)?;
            }
            for name in names(&base.join(at)).filter(|name| !is_hidden(name)) {
                let next = at.join(name);
                // Links are not followed: they may lead in a circle.
                if base.join(&next).symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
                    walk(base, &next, parts, cancel, found)?;
                }
            }
        }
    }
    Ok(())
}

/// Returns what is in a folder; one that cannot be read has nothing that matches.
fn names(dir: &Path) -> impl Iterator<Item = std::ffi::OsString> + use<> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    std::fs::read_dir(dir).into_iter().flatten().filter_map(|entry| entry.ok().map(|entry| entry.file_name()))
}

fn is_hidden(name: &std::ffi::OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(dir: &Path, pattern: &str) -> Vec<String> {
        let found = glob(dir, pattern, &Cancel::default()).unwrap();
        found.iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn finds_what_a_shell_would() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["a.sh", "b.txt", ".hidden.sh", "s/c.sh", "s/t/d.sh", "s/.git/e.sh", "we[ird"] {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        std::os::unix::fs::symlink(dir.path(), dir.path().join("s/loop")).unwrap();
        let dir = dir.path();
        assert_eq!(found(dir, "*.sh"), ["a.sh"]);
        assert_eq!(found(dir, "**/*.sh"), ["a.sh", "s/c.sh", "s/t/d.sh"]);
        assert_eq!(found(dir, "s/**"), ["s/c.sh", "s/loop", "s/t", "s/t/d.sh"]);
        assert_eq!(found(dir, "{a,b}.*"), ["a.sh", "b.txt"]);
        assert_eq!(found(dir, ".h*"), [".hidden.sh"]);
        assert_eq!(found(dir, "./s/?.sh"), ["s/c.sh"]);
        assert_eq!(found(dir, "we\\[ird"), ["we[ird"]);
        assert_eq!(found(dir, "nothing/*"), [""; 0]);
        let absolute = format!("{}/*.txt", dir.display());
        assert_eq!(found(Path::new("/"), &absolute), [dir.join("b.txt").display().to_string()]);
        assert!(glob(dir, "a{b", &Cancel::default()).is_err());
        assert!(glob(dir, "", &Cancel::default()).is_err());
    }

    proptest::proptest! {
        #[test]
        fn patterns_never_panic(pattern in "[a-z*?{}\\[\\],./\\\\-]{0,12}") {
            let _ = glob(Path::new("/nonexistent"), pattern.trim_start_matches('/'), &Cancel::default());
        }
    }
}
