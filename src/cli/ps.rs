//! `rimg ps`: what is up, and what was left.

use serde::Serialize;

use super::args::PsArgs;
use super::dispatch::Exit;
use super::out;
use crate::engine::Access;
use crate::engine::journal::Trace;
use crate::engine::journal::runs::{self, Run};
use crate::engine::journal::story::Thing;
use crate::error::Result;
use crate::host::dirs;
use crate::ui::{text, units};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Running,
    Kept,
    LeftOver,
}

#[derive(Debug, Serialize)]
struct Row {
    run: String,
    script: String,
    build: String,
    kind: String,
    name: String,
    /// Seconds since it was begun.
    age: u64,
    state: State,
    /// The processes that it is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    processes: Vec<u32>,
    /// How to get in: host, port, user.
    #[serde(skip_serializing_if = "Option::is_none")]
    way: Option<serde_json::Value>,
    /// Whether `rimg ssh` gets in.
    #[serde(skip)]
    has_shell: bool,
    /// Why it is kept, or could not be removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

#[derive(Serialize)]
struct Answer {
    up: Vec<Row>,
}

/// Shows runs and what they have made that is not gone.
pub fn ps(args: &PsArgs) -> Result<Exit> {
    let up: Vec<Row> = runs::all(&dirs::state()?)?.iter().flat_map(rows).collect();
    match args.json {
        true => out::print_json(&Answer { up })?,
        false if up.is_empty() => out::print("Nothing is up.\n")?,
        false => out::print(&table(&up))?,
    }
    Ok(Exit::Done)
}

/// Returns a line for the run and one for each of its machines, programs and cloud resources; of dead runs also what else
/// they left.
fn rows(run: &Run) -> Vec<Row> {
    let is_live = run.is_live();
    let Some(story) = run.story() else { return Vec::new() };
    let Some(begin) = story.begin else { return Vec::new() };
    let is_shown = |thing: &Thing| {
        let is_small = matches!(thing.trace, Trace::Path(_)) && thing.kind != "machine";
        thing.kept.is_some() || !is_small
    };
    let row = |thing: &Thing| {
        let (way, has_shell) = thing.way.as_ref().map(Access::shown).unzip();
        let has_shell = has_shell.unwrap_or_default();
        Row {
            run: run.id.clone(),
            script: begin.script.clone(),
            build: thing.build.clone(),
            kind: thing.kind.clone(),
            name: thing.name.clone(),
            age: since(thing.at),
            state: match (is_live, &thing.kept) {
                (true, _) => State::Running,
                (false, Some(_)) => State::Kept,
                (false, None) => State::LeftOver,
            },
            processes: thing.processes.iter().map(|process| process.pid).collect(),
            way,
            has_shell,
            why: thing.kept.clone().or_else(|| thing.stays.clone()),
        }
    };
    let mut rows: Vec<Row> = story.things.values().filter(|thing| is_shown(thing)).map(row).collect();
    let all_kept = !rows.is_empty() && rows.iter().all(|row| row.state == State::Kept);
    if !all_kept {
        let own = Row {
            run: run.id.clone(),
            script: begin.script.clone(),
            build: String::new(),
            kind: "run".to_owned(),
            name: String::new(),
            age: since(begin.at),
            state: if is_live { State::Running } else { State::LeftOver },
            processes: begin.process.iter().filter(|_| is_live).map(|process| process.pid).collect(),
            way: None,
            has_shell: false,
            why: None,
        };
        rows.insert(0, own);
    }
    rows
}

fn table(rows: &[Row]) -> String {
    let heading = ["RUN", "STATE", "AGE", "WHAT", "BUILD", "HOW TO GET IN"].map(str::to_owned);
    let cells = rows.iter().map(|row| {
        let state = match row.state {
            State::Running => "running",
            State::Kept => "kept",
            State::LeftOver => "left over",
        };
        let what = if row.kind == "run" { &row.script } else { &row.name };
        let what = text::truncate(&format!("{} {what}", row.kind), 60);
        let row = [row.run.clone(), state.to_owned(), units::span(row.age), what, row.build.clone(), way(row)];
        row.map(|cell| text::sanitize(&cell))
    });
    let lines: Vec<[String; 6]> = std::iter::once(heading).chain(cells).collect();
    let mut widths = [0; 6];
    for line in &lines {
        widths.iter_mut().zip(line).for_each(|(width, cell)| *width = text::width(cell).max(*width));
    }
    let shown = |line: &[String; 6]| {
        let cells: Vec<String> = line.iter().zip(widths).map(|(cell, width)| text::pad(cell, width)).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    let left = rows.iter().any(|row| row.state == State::LeftOver);
    let hint = if left { "`rimg gc` removes what is left over.\n" } else { "" };
    lines.iter().map(shown).collect::<String>() + hint
}

fn way(row: &Row) -> String {
    let text = |name: &str| row.way.as_ref().and_then(|way| way.get(name));
    let (Some(host), Some(port)) = (text("host").and_then(|host| host.as_str()), text("port")) else {
        return String::new();
    };
    let address = match text("user").and_then(|user| user.as_str()) {
        Some(user) => format!("{user}@{host}:{port}"),
        None => format!("{host}:{port}"),
    };
    if row.has_shell { format!("rimg ssh {} ({address})", row.build) } else { address }
}

fn since(at: i64) -> u64 {
    jiff::Timestamp::now().as_second().saturating_sub(at).max(0).unsigned_abs()
}
