//! Holds the walls of the house: arrows run one way, and only the script layer knows Lua.

use std::path::{Path, PathBuf};

/// The rooms, outermost first; a room may use those in later rows only, and its own.
const ROWS: &[&[&str]] = &[
    &["properties"],
    &["cli"],
    &["script"],
    &["builder", "provisioner", "artifact", "packer"],
    &["communicator", "console", "media"],
    &["engine"],
    &["host", "ui"],
    &["error"],
];

fn row(room: &str) -> Option<usize> {
    ROWS.iter().position(|row| row.contains(&room))
}

fn sources(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

/// Returns the rooms that a line of code names: `crate::engine::…`, `crate::{engine, ui}`.
fn rooms_named(line: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for (_, rest) in
        line.match_indices("crate::").map(|(at, found)| (at, line.get(at + found.len()..).unwrap_or_default()))
    {
        let list = rest.strip_prefix('{').and_then(|rest| rest.split('}').next()).unwrap_or(rest);
        for part in list.split(',').take(if rest.starts_with('{') { usize::MAX } else { 1 }) {
            let name: String = part.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            rooms.push(name);
        }
    }
    rooms
}

#[test]
fn arrows_run_one_way() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut wrong = Vec::new();
    for file in files {
        let inside = file.strip_prefix(&root).unwrap();
        let room = inside.components().next().unwrap().as_os_str().to_string_lossy().replace(".rs", "");
        let text = std::fs::read_to_string(&file).unwrap();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            let place = || format!("{}:{}: {}", inside.display(), number + 1, line.trim());
            if line.contains("mlua::") && !["script", "walls"].contains(&room.as_str()) {
                wrong.push(place());
            }
            let Some(own) = row(&room) else { continue };
            for named in rooms_named(line).iter().filter(|named| **named != room) {
                // Rooms of one row are neighbours: they do not know each other.
                if row(named).is_some_and(|other| other <= own) {
                    wrong.push(place());
                }
            }
        }
    }
    assert!(wrong.is_empty(), "against the arrows of the house:\n{}", wrong.join("\n"));
}

#[test]
fn named_rooms_are_found() {
    assert_eq!(rooms_named("use crate::engine::{Artifact};"), ["engine"]);
    assert_eq!(rooms_named("use crate::{ui, engine::x};"), ["ui", "engine"]);
}
