//! What is written down: a line each.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::host::census::Identity;

/// The version of what the lines mean; a journal of a later one is left alone.
pub const VERSION: u32 = 1;

/// What finds a resource again after a crash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trace {
    /// Nothing: it ends with the process that made it (loopback servers, ports, connections).
    Memory,
    /// A file or a folder with all it holds, here.
    Path(#[serde(with = "path")] PathBuf),
    /// Processes: they bear the run's mark.
    Process,
    /// It is not on this host: the collector of that name knows how to find and remove `what`.
    Elsewhere { collector: String, what: Value },
}

/// The first line of a journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Begin {
    pub version: u32,
    pub run: String,
    /// The process of the run, and the boot it lived in.
    pub process: Option<Identity>,
    pub boot: String,
    /// What was asked for: a script, or what a command is called.
    pub script: String,
    /// The run's work folder, which goes with all it holds.
    #[serde(with = "path")]
    pub work: PathBuf,
    /// Folders in which unfinished files are looked for by their names, without a line each.
    #[serde(with = "paths")]
    pub stores: Vec<PathBuf>,
    /// Seconds since 1970.
    pub at: i64,
}

/// A line of a journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    Begin(Begin),
    /// A resource is about to be made.
    Enter {
        id: u64,
        kind: String,
        name: String,
        build: String,
        at: i64,
        trace: Trace,
    },
    /// A process of a resource was started.
    Process {
        id: u64,
        process: Identity,
    },
    /// How to get in: what `rimg ps` and `rimg ssh` use.
    Way {
        id: u64,
        way: Value,
    },
    /// A resource is left on purpose, until somebody asks for its end.
    Kept {
        id: u64,
        why: String,
    },
    /// A resource is gone, or has become an output.
    Gone {
        id: u64,
    },
    /// Files that bear the run's id in their names until they are whole are about to be made in a folder.
    Folder(#[serde(with = "path")] PathBuf),
    /// What is at `target` is about to be put aside, to go back if nothing comes in its place.
    Aside {
        #[serde(with = "path")]
        aside: PathBuf,
        #[serde(with = "path")]
        target: PathBuf,
    },
    /// `rimg gc` could not remove a resource.
    Stays {
        id: u64,
        why: String,
    },
}

/// Paths are bytes: those that are no text are written as a list of numbers.
mod path {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    pub enum Written {
        Text(String),
        Bytes(Vec<u8>),
    }

    impl Written {
        pub fn of(path: &Path) -> Written {
            match path.to_str() {
                Some(text) => Written::Text(text.to_owned()),
                None => Written::Bytes(path.as_os_str().as_bytes().to_vec()),
            }
        }

        pub fn path(self) -> PathBuf {
            match self {
                Written::Text(text) => text.into(),
                Written::Bytes(bytes) => OsString::from_vec(bytes).into(),
            }
        }
    }

    pub fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        Written::of(path).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        Written::deserialize(from).map(Written::path)
    }
}

mod paths {
    use std::path::PathBuf;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::path::Written;

    pub fn serialize<S: Serializer>(paths: &[PathBuf], to: S) -> Result<S::Ok, S::Error> {
        paths.iter().map(|path| Written::of(path)).collect::<Vec<_>>().serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<PathBuf>, D::Error> {
        Ok(Vec::<Written>::deserialize(from)?.into_iter().map(Written::path).collect())
    }
}

impl Line {
    /// Returns the line as it is written, with its end.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Returns the lines of a journal. A last one that was torn is none; neither is one that a later version writes.
    pub fn all(content: &[u8]) -> Vec<Line> {
        content.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn lines_are_read_as_they_were_written() {
        let odd: PathBuf = std::ffi::OsString::from_vec(b"/tmp/\xff\n".to_vec()).into();
        let elsewhere = Trace::Elsewhere { collector: "cloud".into(), what: serde_json::json!({ "tag": "x" }) };
        let enter =
            |id, trace| Line::Enter { id, kind: "k".into(), name: "n\n".into(), build: "b".into(), at: 1, trace };
        let lines = vec![
            Line::Begin(Begin {
                version: VERSION,
                run: "r".into(),
                process: Identity::of(std::process::id()),
                boot: "b".into(),
                script: "s".into(),
                work: odd.clone(),
                stores: vec![odd.clone(), "/x".into()],
                at: 5,
            }),
            enter(1, Trace::Memory),
            enter(2, Trace::Path(odd.clone())),
            enter(3, Trace::Process),
            enter(4, elsewhere),
            Line::Process { id: 3, process: Identity { pid: 1, started: 2 } },
            Line::Way { id: 3, way: serde_json::json!({ "port": 22 }) },
            Line::Kept { id: 3, why: "asked".into() },
            Line::Folder(odd.clone()),
            Line::Aside { aside: odd.clone(), target: odd },
            Line::Gone { id: 4 },
        ];
        let mut written: Vec<u8> = lines.iter().flat_map(Line::to_bytes).collect();
        assert_eq!(written.iter().filter(|byte| **byte == b'\n').count(), lines.len());
        written.extend(br#"{"gone":{"id"#);
        assert_eq!(Line::all(&written), lines);
    }
}
