//! The journal, which other runs read, and which may end anywhere.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::source::Source;
use crate::engine::journal::story::Story;
use crate::engine::journal::{Line, Trace};
use crate::host::census::Identity;

/// What was written is read, cut off anywhere it is the lines before, and damage takes no line but its own with it. What is told
/// is what was entered and is not gone.
pub(super) fn holds(data: &[u8]) {
    let _ = Story::of(Line::all(data));
    let mut source = Source::new(data);
    let mut lines = Vec::new();
    while !source.is_empty() {
        lines.push(line(&mut source));
    }
    let written: Vec<Vec<u8>> = lines.iter().map(Line::to_bytes).collect();
    let whole = written.concat();
    assert_eq!(Line::all(&whole), lines);

    let mut source = Source::new(data);
    let cut = source.below(whole.len() + 1);
    let whole_in = |end: usize| {
        let ends = written.iter().scan(0, |sum, line| {
            *sum += line.len();
            Some(*sum)
        });
        ends.take_while(|at| *at <= end).count()
    };
    // A line is whole without its end, too.
    assert_eq!(Some(&*Line::all(whole.get(..cut).unwrap())), lines.get(..whole_in(cut + 1)));

    let mut damaged = whole.clone();
    damaged.splice(cut..cut, data.iter().copied().filter(|byte| *byte != b'\n'));
    let read = Line::all(&damaged);
    assert!(read.len() + 1 >= lines.len());
    assert_eq!(read.get(..whole_in(cut)), lines.get(..whole_in(cut)));

    let story = Story::of(lines.clone());
    for (id, thing) in &story.things {
        let last = lines.iter().rposition(|line| matches!(line, Line::Enter { id: entered, .. } if entered == id));
        let since = lines.get(last.unwrap()..).unwrap();
        assert!(!since.contains(&Line::Gone { id: *id }), "{thing:?}");
    }
    let entered = |line: &Line| matches!(line, Line::Enter { .. });
    assert!(story.things.len() <= lines.iter().filter(|line| entered(line)).count());
}

/// Makes a line up.
fn line(source: &mut Source<'_>) -> Line {
    let id = source.below(4) as u64;
    let why = source.text(&["a", "\n", "\"", "é", "\u{1b}"], 3);
    match source.below(9) {
        0 => Line::Enter { id, kind: why.clone(), name: why.clone(), build: why, at: -1, trace: Trace::Process },
        1 => {
            let trace = Trace::Path(path(source));
            Line::Enter { id, kind: "folder".into(), name: why, build: String::new(), at: i64::MAX, trace }
        }
        2 => {
            let trace = Trace::Elsewhere { collector: why.clone(), what: serde_json::json!({ "what": [id, null] }) };
            Line::Enter { id, kind: "image".into(), name: String::new(), build: String::new(), at: 0, trace }
        }
        3 => Line::Process { id, process: Identity { pid: source.byte().into(), started: source.number() } },
        4 => Line::Way { id, way: serde_json::json!({ "port": source.byte(), "why": why }) },
        5 => Line::Kept { id, why },
        6 => Line::Gone { id },
        7 => Line::Folder(path(source)),
        _ => Line::Aside { aside: path(source), target: path(source) },
    }
}

/// A path that may be no text.
fn path(source: &mut Source<'_>) -> PathBuf {
    OsString::from_vec(source.bytes(5).to_vec()).into()
}
