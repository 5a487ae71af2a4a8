//! What goes onto a medium that is made for a machine: files and folders of this host, and contents of the script's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::inline::InlineFiles;
use crate::engine::BuildCx;
use crate::engine::placeholders::Placeholders;
use crate::engine::replay::content;
use crate::error::{Error, Kind, Result, io_error};
use crate::host::blocking::Cancel;
use crate::host::glob::glob;

/// Where a file's bytes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The bytes themselves.
    Bytes(Vec<u8>),
    /// A file on this host, read when the image is written.
    File(PathBuf),
}

/// A file or a folder of a medium.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    Folder,
    File(Content),
}

/// Where what an option names is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Files into the root, folders as they are under their own names, and the contents of a `folder/` into the root.
    Tree,
    /// Files into the root, and all files in a folder, however deep, too.
    Flat,
    /// Folders as they are under their own names, and files into the root.
    Folders,
}

/// What goes onto a medium, by its path there.
#[derive(Debug, Clone, Default)]
pub struct Medium {
    entries: BTreeMap<String, Entry>,
}

impl Medium {
    /// Returns paths and what is there; a folder comes before what it holds.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(path, entry)| (path.as_str(), entry))
    }

    /// Adds what `patterns` name: paths and globs, relative ones from `base`. `option` is theirs, for errors. Links are
    /// followed, so that what they point to is on the medium. Blocking.
    pub fn add_files(
        &mut self,
        option: &str,
        patterns: &[String],
        rule: Rule,
        base: &Path,
        cancel: &Cancel,
    ) -> Result<()> {
        for pattern in patterns {
            for path in find(pattern, base, cancel).map_err(|e| e.within(format_args!("option `{option}`")))? {
                let contents_only = rule == Rule::Tree && pattern.ends_with('/');
                let mut walk = Walk { medium: self, rule, above: Vec::new(), cancel };
                walk.start(&path, contents_only).map_err(|e| e.within(format_args!("option `{option}`")))?;
            }
        }
        Ok(())
    }

    /// Adds contents, which take the place of files that are there already. What functions will return is not known yet,
    /// and empty in the meantime.
    pub fn add_known(&mut self, option: &str, files: &InlineFiles) -> Result<()> {
        for (path, content) in checked(option, files)? {
            self.put(path, content.known())?;
        }
        Ok(())
    }

    /// Adds contents, with placeholders filled in and functions asked.
    pub async fn add_contents(&mut self, option: &str, files: &InlineFiles, values: &Placeholders) -> Result<()> {
        for (path, content) in checked(option, files)? {
            let place = format!("option `{option}[{path:?}]`");
            let bytes = content.make(&place, values).await?;
            self.put(path, bytes)?;
        }
        Ok(())
    }

    /// Puts a file of the script's at a path.
    fn put(&mut self, path: String, bytes: Vec<u8>) -> Result<()> {
        self.add_folders_of(&path)?;
        if self.entries.get(&path) == Some(&Entry::Folder) {
            return Err(Error::new(Kind::Option, format!("{path:?} is a folder of the medium, and a file, too")));
        }
        self.entries.insert(path, Entry::File(Content::Bytes(bytes)));
        Ok(())
    }

    /// Returns the digests of its files by their paths; folders have none.
    pub async fn digests(&self, cx: &BuildCx) -> Result<serde_json::Value> {
        let mut digests = serde_json::Map::new();
        for (path, entry) in self.entries() {
            let digest = match entry {
                Entry::Folder => serde_json::Value::Null,
                Entry::File(Content::File(file)) => content::file(file, cx).await?.into(),
                Entry::File(Content::Bytes(bytes)) => format!("blake3:{}", blake3::hash(bytes).to_hex()).into(),
            };
            digests.insert(path.to_owned(), digest);
        }
        Ok(serde_json::Value::Object(digests))
    }

    /// Adds the folders that a path is in.
    fn add_folders_of(&mut self, path: &str) -> Result<()> {
        for (at, _) in path.match_indices('/') {
            self.add(path.get(..at).unwrap_or_default().to_owned(), Entry::Folder)?;
        }
        Ok(())
    }

    /// Adds what is not there yet; the same thing once more is fine.
    fn add(&mut self, path: String, entry: Entry) -> Result<()> {
        match self.entries.get(&path) {
            None => {
                self.entries.insert(path, entry);
                Ok(())
            }
            Some(other) if *other == entry => Ok(()),
            Some(other) => {
                let what = |entry: &Entry| match entry {
                    Entry::Folder => "a folder".to_owned(),
                    Entry::File(Content::Bytes(_)) => "a content of the script's".to_owned(),
                    Entry::File(Content::File(path)) => path.display().to_string(),
                };
                let message = format!("{path:?} on the medium would be both {} and {}", what(other), what(&entry));
                Err(Error::new(Kind::Option, message).hint("rename one of them, or leave one of them out"))
            }
        }
    }
}

fn checked<'a>(option: &str, files: &'a InlineFiles) -> Result<BTreeMap<String, &'a super::inline::InlineContent>> {
    if let Some(path) = files.paths().find(|path| path.starts_with('/')) {
        let message = format!("option `{option}`: {path:?} starts with a slash");
        return Err(Error::new(Kind::Option, message).hint("paths start at the root of the medium: leave it out"));
    }
    files.by_path(option)
}

/// Returns the paths that a pattern names: itself where it is there, else what matches.
fn find(pattern: &str, base: &Path, cancel: &Cancel) -> Result<Vec<PathBuf>> {
    let path = base.join(pattern);
    if path.symlink_metadata().is_ok() {
        return Ok(vec![path]);
    }
    if !pattern.contains(['*', '?', '[', '{']) {
        std::fs::metadata(&path).map_err(|e| io_error("read", &path, e))?;
    }
    let found = glob(base, pattern, cancel)?;
    if found.is_empty() {
        return Err(Error::new(Kind::Option, format!("nothing matches {}", path.display())));
    }
    Ok(found.into_iter().map(|path| base.join(path)).collect())
}

/// The way through the files of this host.
struct Walk<'a> {
    medium: &'a mut Medium,
    rule: Rule,
    /// The folders around, as they really are, to notice links that lead in a circle.
    above: Vec<PathBuf>,
    cancel: &'a Cancel,
}

impl Walk<'_> {
    fn start(&mut self, path: &Path, contents_only: bool) -> Result<()> {
        let read = |e| io_error("read", path, e);
        let meta = std::fs::metadata(path).map_err(read)?;
        if !meta.is_dir() {
            return self.visit(path, name(path)?);
        }
        if contents_only || self.rule == Rule::Flat {
            return self.folder(path, "");
        }
        // `.` and `..` have a name, too.
        let real = std::fs::canonicalize(path).map_err(read)?;
        let own = match path.file_name() {
            Some(_) => name(path)?,
            None => name(&real)?,
        };
        self.visit(path, own)
    }

    /// Adds a file or a folder under a path of the medium.
    fn visit(&mut self, path: &Path, to: String) -> Result<()> {
        self.cancel.check()?;
        let meta = std::fs::metadata(path).map_err(|e| io_error("read", path, e))?;
        if meta.is_dir() {
            if self.rule == Rule::Flat {
                return self.folder(path, "");
            }
            self.medium.add(to.clone(), Entry::Folder)?;
            return self.folder(path, &to);
        }
        if !meta.is_file() {
            let message = format!("{} is neither a file nor a folder", path.display());
            return Err(Error::new(Kind::Option, message));
        }
        std::fs::File::open(path).map_err(|e| io_error("read", path, e))?;
        self.medium.add(to, Entry::File(Content::File(path.to_owned())))
    }

    fn folder(&mut self, path: &Path, to: &str) -> Result<()> {
        let read = |e| io_error("read the folder", path, e);
        let real = std::fs::canonicalize(path).map_err(read)?;
        if self.above.contains(&real) {
            let message = format!("{} is a link to a folder that it is in", path.display());
            return Err(Error::new(Kind::Option, message));
        }
        self.above.push(real);
        let mut paths = std::fs::read_dir(path)
            .and_then(|entries| {
                entries.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<Vec<_>>>()
            })
            .map_err(read)?;
        paths.sort();
        for path in paths {
            let name = name(&path)?;
            let to = if to.is_empty() { name } else { format!("{to}/{name}") };
            self.visit(&path, to)?;
        }
        self.above.pop();
        Ok(())
    }
}

fn name(path: &Path) -> Result<String> {
    let name = path.file_name().unwrap_or_default();
    name.to_str().map(str::to_owned).ok_or_else(|| {
        Error::new(Kind::Option, format!("{} has a name that is not UTF-8, which no medium can have", path.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Value;
    use crate::engine::options::decode;

    fn host() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in ["d/user-data", "d/meta-data", "d/.hidden", "d/sub/x.sh", "other/x.sh", "we[ird", "top.txt"] {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, file).unwrap();
        }
        std::fs::create_dir(dir.path().join("d/empty")).unwrap();
        std::os::unix::fs::symlink("../top.txt", dir.path().join("other/link")).unwrap();
        dir
    }

    fn collected(dir: &Path, patterns: &[&str], rule: Rule) -> Result<Vec<String>> {
        let mut medium = Medium::default();
        let patterns: Vec<String> = patterns.iter().map(|p| (*p).to_owned()).collect();
        medium.add_files("cd_files", &patterns, rule, dir, &Cancel::default())?;
        let shown = |(path, entry): (&str, &Entry)| match entry {
            Entry::Folder => format!("{path}/"),
            Entry::File(_) => path.to_owned(),
        };
        Ok(medium.entries().map(shown).collect())
    }

    #[test]
    fn files_and_folders_go_where_packer_puts_them() {
        let dir = host();
        let tree = |patterns: &[&str]| collected(dir.path(), patterns, Rule::Tree).unwrap();
        let inside = ["d/", "d/.hidden", "d/empty/", "d/meta-data", "d/sub/", "d/sub/x.sh", "d/user-data"];
        assert_eq!(tree(&["d"]), inside);
        assert_eq!(tree(&["d/"]), [".hidden", "empty/", "meta-data", "sub/", "sub/x.sh", "user-data"]);
        assert_eq!(tree(&["./d/*"]), ["empty/", "meta-data", "sub/", "sub/x.sh", "user-data"]);
        assert_eq!(
            tree(&["d/user-data", "we[ird", "other"]),
            ["other/", "other/link", "other/x.sh", "user-data", "we[ird"]
        );
        assert_eq!(tree(&["top.txt", "top.txt", "*.txt"]), ["top.txt"]);
        let flat = |patterns: &[&str]| collected(dir.path(), patterns, Rule::Flat);
        assert_eq!(flat(&["d", "top.txt"]).unwrap(), [".hidden", "meta-data", "top.txt", "user-data", "x.sh"]);
        assert!(flat(&["d", "other"]).unwrap_err().message().contains("\"x.sh\" on the medium would be both /"));
        assert_eq!(collected(dir.path(), &["d/"], Rule::Folders).unwrap(), inside);
        let absolute = dir.path().join("d/sub").display().to_string();
        assert_eq!(tree(&[&absolute]), ["sub/", "sub/x.sh"]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let dir = host();
        let message = |pattern: &str| collected(dir.path(), &[pattern], Rule::Tree).unwrap_err().to_string();
        let missing = message("d/none");
        assert!(missing.contains("option `cd_files`: cannot read /") && missing.contains("/d/none"), "{missing}");
        assert!(message("*.none").contains("nothing matches /"));
        std::os::unix::fs::symlink("..", dir.path().join("d/loop")).unwrap();
        assert!(message("d").contains("d/loop/d is a link to a folder that it is in"), "{}", message("d"));
        std::os::unix::fs::symlink("nowhere", dir.path().join("other/broken")).unwrap();
        assert!(message("other").contains("other/broken"));
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert!(message("pipe").contains("is neither a file nor a folder"));
    }

    #[tokio::test]
    async fn contents_take_the_place_of_files() {
        let dir = host();
        let files = |entries: &[(&str, &str)]| -> InlineFiles {
            let entries = entries.iter().map(|(k, v)| ((*k).to_owned(), Value::Str((*v).into())));
            decode("x", Value::Map(entries.collect())).unwrap()
        };
        let mut medium = Medium::default();
        medium.add_files("cd_files", &["d/".into()], Rule::Tree, dir.path(), &Cancel::default()).unwrap();
        let values = Placeholders::default().with("Name", "web");
        let contents = files(&[("user-data", "{{ .Name }}"), ("a/b/c", "x")]);
        medium.add_contents("cd_content", &contents, &values).await.unwrap();
        let bytes = |path: &str| medium.entries().find(|(p, _)| *p == path).unwrap().1.clone();
        assert_eq!(bytes("user-data"), Entry::File(Content::Bytes(b"web".to_vec())));
        assert_eq!(bytes("a/b"), Entry::Folder);
        let mut error = async |entries| medium.add_contents("cd_content", &files(entries), &values).await.unwrap_err();
        assert!(error(&[("sub", "")]).await.message().contains("\"sub\" is a folder"));
        assert!(error(&[("user-data/x", "")]).await.message().contains("\"user-data\" on the medium would be both"));
        assert!(error(&[("/x", "")]).await.message().contains("starts with a slash"));
        assert!(error(&[("../x", "")]).await.message().contains("option `cd_content`: \"../x\""));
    }
}
