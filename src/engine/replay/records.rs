//! The records on disk: one file each, in a folder named after the record that it comes after.
//!
//! `records/<after>/<key>.<owner>.<id>.json`, key and owner by their first characters. A file appears whole, by rename, and
//! is never changed; its time of modification is the time of its last use. Its second line is a digest of the first: one
//! that is not as it was written counts as not there.

use std::path::{Path, PathBuf};

use super::key::Key;
use super::record::Record;
use crate::error::{Context, Kind, Result, io_error};
use crate::host::dirs;

/// How often a record is written whose folder is removed meanwhile.
const ATTEMPTS: u32 = 20;
/// Stands for records of another chain.
const GONE_ON: &str = "gone-on";

/// The records of all scripts of this user.
#[derive(Debug, Clone)]
pub struct Records {
    folder: PathBuf,
}

/// Whose records are preferred: a build of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Absolute.
    pub script: String,
    pub build: String,
}

impl Owner {
    fn short(&self) -> String {
        let hash = blake3::hash(format!("{}\0{}", self.script, self.build).as_bytes()).to_hex();
        hash.get(..8).unwrap_or(&hash).to_owned()
    }

    /// Tells whether a record was written for it.
    pub fn wrote(&self, record: &Record) -> bool {
        record.script == self.script && record.build == self.build
    }
}

impl Records {
    /// Returns the records below `folder`, which need not be there yet.
    pub fn new(folder: impl Into<PathBuf>) -> Records {
        Records { folder: folder.into() }
    }

    /// Returns the records with this key after that one: the owner's own first, then the newest.
    pub fn find(&self, after: &str, key: &Key, owner: &Owner) -> Vec<Record> {
        let (key, own) = (key.to_string(), owner.short());
        let mut found: Vec<Record> = self
            .names(after)
            .into_iter()
            .filter(|name| name.starts_with(short(&key)))
            .filter_map(|name| self.read(after, &name))
            .filter(|record| record.key == key)
            .collect();
        found.sort_by_key(|record| (!owner.wrote(record), std::cmp::Reverse(record.at)));
        tracing::trace!(after, key, own, found = found.len(), "looked for a record");
        found
    }

    /// Returns the owner's records after that one, the newest first: what it did there before.
    pub fn own(&self, after: &str, owner: &Owner) -> Vec<Record> {
        let mark = format!(".{}.", owner.short());
        let mut found: Vec<Record> = self
            .names(after)
            .into_iter()
            .filter(|name| name.contains(&mark))
            .filter_map(|name| self.read(after, &name))
            .filter(|record| owner.wrote(record))
            .collect();
        found.sort_by_key(|record| std::cmp::Reverse(record.at));
        found
    }

    /// Tells whether anything was done after that record.
    pub fn goes_on(&self, id: &str) -> bool {
        self.names(id).iter().any(|name| name == GONE_ON || name.ends_with(".json"))
    }

    /// Notes that something was done after a record, by another chain than its own.
    pub fn mark(&self, id: &str) -> Result<()> {
        let folder = self.folder.join(id);
        dirs::private(&folder)?;
        let path = folder.join(GONE_ON);
        std::fs::write(&path, "").map_err(|e| io_error("write", &path, e))
    }

    /// Writes a record down.
    pub fn write(&self, record: &Record) -> Result<()> {
        let folder = self.folder.join(&record.after);
        let owner = Owner { script: record.script.clone(), build: record.build.clone() };
        let path = folder.join(format!("{}.{}.{}.json", short(&record.key), owner.short(), record.id));
        let mut text = serde_json::to_vec(record).context(Kind::Internal, "cannot write a record down")?;
        text.extend_from_slice(format!("\n{}", seal(&text)).as_bytes());
        // Not synced: a record that a power failure tears is one that is not there.
        let beside = path.with_extension("partial");
        for attempt in 1.. {
            dirs::private(&folder)?;
            let written = std::fs::write(&beside, &text).and_then(|()| std::fs::rename(&beside, &path));
            match written {
                // `rimg cache clear` took the folder, which was empty still.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound && attempt < ATTEMPTS => {}
                written => return written.map_err(|e| io_error("write", &path, e)),
            }
        }
        Ok(())
    }

    /// Notes that a record was used.
    pub fn touch(&self, record: &Record) {
        if let Some(path) = self.path(record) {
            let now = std::time::SystemTime::now();
            let _ = std::fs::File::options().append(true).open(path).and_then(|file| file.set_modified(now));
        }
    }

    /// Removes a record that turned out not to hold.
    pub fn remove(&self, record: &Record) {
        if let Some(path) = self.path(record) {
            let _ = std::fs::remove_file(path);
        }
    }

    fn path(&self, record: &Record) -> Option<PathBuf> {
        let end = format!(".{}.json", record.id);
        let name = self.names(&record.after).into_iter().find(|name| name.ends_with(&end))?;
        Some(self.folder.join(&record.after).join(name))
    }

    fn names(&self, after: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.join(after)).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    fn read(&self, after: &str, name: &str) -> Option<Record> {
        let path = self.folder.join(after).join(name);
        if !name.ends_with(".json") {
            return None;
        }
        let bytes = std::fs::read(&path).unwrap_or_default();
        let record = whole(&bytes).and_then(|text| serde_json::from_slice::<Record>(text).ok());
        let fits = record.as_ref().is_some_and(|record| record.after == after);
        if !fits {
            tracing::warn!(path = %path.display(), "a record is damaged; dropped");
            drop_damaged(&path);
        }
        record.filter(|_| fits)
    }
}

/// Returns what a record's second line is: a single bit that is another would be a wrong result in some later run.
fn seal(text: &[u8]) -> String {
    let hash = blake3::hash(text).to_hex();
    hash.get(..32).unwrap_or(&hash).to_owned()
}

/// Returns the JSON of a record that is as it was written.
pub(super) fn whole(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().rposition(|byte| *byte == b'\n')?;
    let (text, mark) = bytes.split_at_checked(end)?;
    (mark.strip_prefix(b"\n")? == seal(text).as_bytes()).then_some(text)
}

fn drop_damaged(path: &Path) {
    let _ = std::fs::remove_file(path);
}

/// The part of a key that is in a file's name.
fn short(key: &str) -> &str {
    key.get(..16).unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::super::record::{Outcome, ROOT};
    use super::*;

    fn record(id: &str, after: &str, key: Key, owner: &Owner, at: i64) -> Record {
        Record {
            id: id.into(),
            after: after.into(),
            key: key.to_string(),
            kind: "run".into(),
            title: "x".into(),
            request: serde_json::json!({}),
            outcome: Outcome::Done(serde_json::json!(id)),
            places: Vec::new(),
            outputs: None,
            seconds: 1.0,
            at,
            script: owner.script.clone(),
            build: owner.build.clone(),
        }
    }

    #[test]
    fn finds_its_own_first_then_the_newest_and_drops_what_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::new(dir.path().join("records"));
        let key = Key::ROOT.next("run", &serde_json::json!({}));
        let owner = |build: &str| Owner { script: "/s.lua".into(), build: build.into() };
        let (me, other) = (owner("me"), owner("other"));
        for (id, whose, at) in [("a", &me, 1), ("b", &other, 3), ("c", &other, 2)] {
            records.write(&record(id, ROOT, key, whose, at)).unwrap();
        }
        records.write(&record("d", ROOT, Key::ROOT, &me, 9)).unwrap();
        let ids = |found: Vec<Record>| found.into_iter().map(|record| record.id).collect::<Vec<_>>();
        assert_eq!(ids(records.find(ROOT, &key, &me)), ["a", "b", "c"]);
        assert_eq!(ids(records.find(ROOT, &key, &owner("new"))), ["b", "c", "a"]);
        assert_eq!(ids(records.own(ROOT, &me)), ["d", "a"]);
        assert!(records.find("a", &key, &me).is_empty());
        assert!(records.goes_on(ROOT) && !records.goes_on("a"));
        let path =
            dir.path().join("records/root").join(records.names(ROOT).iter().find(|n| n.contains(".b.")).unwrap());
        let mut bytes = std::fs::read(&path).unwrap();
        let result = bytes.windows(3).rposition(|part| part == b"\"b\"").unwrap();
        bytes[result + 1] = b'x';
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(ids(records.find(ROOT, &key, &me)), ["a", "c"]);
        assert!(!path.exists());
    }
}
