//! What a journal says was made and is not gone.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use super::entry::{Begin, Line, Trace};
use crate::host::census::Identity;

/// A run's journal, read.
#[derive(Debug, Default)]
pub struct Story {
    pub begin: Option<Begin>,
    /// What was entered and is not struck out, by number.
    pub things: BTreeMap<u64, Thing>,
    pub folders: Vec<PathBuf>,
    /// What was put aside, and where it was.
    pub asides: Vec<(PathBuf, PathBuf)>,
}

/// A resource that is, or was about to be.
#[derive(Debug, Clone)]
pub struct Thing {
    pub kind: String,
    pub name: String,
    pub build: String,
    pub at: i64,
    pub trace: Trace,
    pub processes: Vec<Identity>,
    pub way: Option<Value>,
    /// Why it was left on purpose.
    pub kept: Option<String>,
    /// Why it could not be removed the last time.
    pub stays: Option<String>,
}

impl Story {
    /// Reads the lines of a journal.
    pub fn of(lines: Vec<Line>) -> Story {
        let mut story = Story::default();
        for line in lines {
            match line {
                Line::Begin(begin) => story.begin = Some(begin),
                Line::Enter { id, kind, name, build, at, trace } => {
                    let thing = Thing {
                        kind,
                        name,
                        build,
                        at,
                        trace,
                        processes: Vec::new(),
                        way: None,
                        kept: None,
                        stays: None,
                    };
                    story.things.insert(id, thing);
                }
                Line::Process { id, process } => story.with(id, |thing| thing.processes.push(process)),
                Line::Way { id, way } => story.with(id, |thing| thing.way = Some(way)),
                Line::Kept { id, why } => story.with(id, |thing| thing.kept = Some(why)),
                Line::Stays { id, why } => story.with(id, |thing| thing.stays = Some(why)),
                Line::Gone { id } => {
                    story.things.remove(&id);
                }
                Line::Folder(path) => story.folders.push(path),
                Line::Aside { aside, target } => story.asides.push((aside, target)),
            }
        }
        story
    }

    fn with(&mut self, id: u64, change: impl FnOnce(&mut Thing)) {
        if let Some(thing) = self.things.get_mut(&id) {
            change(thing);
        }
    }
}
