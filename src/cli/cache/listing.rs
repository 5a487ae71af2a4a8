//! The cache's contents as a person reads them.

use super::contents::{Checkpoint, Contents, Records};
use crate::media::cache::Entry;
use crate::ui::{text, units};

/// Returns a table for each group that there is something of.
pub fn listed(contents: &Contents) -> String {
    let mut tables = Vec::new();
    if !contents.checkpoints.is_empty() {
        let mut lines = vec![heading("CHECKPOINT AFTER")];
        for checkpoint in &contents.checkpoints {
            let marks = marks(&[("unusable", !checkpoint.usable), ("in use", checkpoint.in_use)]);
            let spans = (Some(checkpoint.age), checkpoint.unused_for);
            lines.push(row(checkpoint.size, spans, &format!("{}{marks}", after(checkpoint))));
            let whose = [
                checkpoint.script.as_deref().map(|script| whose(script, checkpoint.build.as_deref())),
                checkpoint.builder.clone(),
            ];
            lines.push(below(&whose.into_iter().flatten().collect::<Vec<_>>().join(", ")));
        }
        tables.push(lines);
    }
    if !contents.records.is_empty() {
        let mut lines = vec![heading("RECORDS OF")];
        for records in &contents.records {
            lines.push(row(records.size, (None, records.unused_for), &records_of(records)));
        }
        tables.push(lines);
    }
    if !contents.downloads.is_empty() {
        let mut lines = vec![heading("DOWNLOADED FROM")];
        for entry in &contents.downloads {
            let marks = marks(&[("partial", entry.partial), ("in use", entry.in_use)]);
            lines.push(row(entry.size, (Some(entry.age), entry.unused_for), &format!("{}{marks}", origin(entry))));
            lines.push(below(&text::sanitize(&entry.path.to_string_lossy())));
        }
        tables.push(lines);
    }
    let mut rest = Vec::new();
    if contents.files.count > 0 {
        rest.push(format!("{}  {}", size(contents.files.size), files(contents)));
    }
    if contents.leftovers.count > 0 {
        rest.push(format!("{}  {}", size(contents.leftovers.size), leftovers(contents)));
    }
    tables.push(rest);
    tables
        .into_iter()
        .filter(|lines| !lines.is_empty())
        .map(|lines| lines.join("\n") + "\n")
        .collect::<Vec<_>>()
        .join("\n")
}

/// Returns a line for each thing, which says what became of it; `verb` is what that is.
pub fn named(contents: &Contents, verb: &str) -> String {
    let mut lines = Vec::new();
    let mut line = |bytes: u64, what: String| lines.push(format!("{verb} {}  {what}\n", size(bytes)));
    for checkpoint in &contents.checkpoints {
        let of = checkpoint
            .script
            .as_deref()
            .map_or_else(String::new, |script| format!(" of {}", whose(script, checkpoint.build.as_deref())));
        line(checkpoint.size, format!("checkpoint after {}{of}", after(checkpoint)));
    }
    for records in &contents.records {
        line(records.size, format!("records of {}", records_of(records)));
    }
    if contents.files.count > 0 {
        line(contents.files.size, files(contents));
    }
    if contents.leftovers.count > 0 {
        line(contents.leftovers.size, leftovers(contents));
    }
    for entry in &contents.downloads {
        line(entry.size, origin(entry));
    }
    lines.concat()
}

fn heading(what: &str) -> String {
    format!("{}  {}  {}  {what}", text::pad("SIZE", 8), text::pad("AGE", 8), text::pad("UNUSED", 8))
}

fn row(bytes: u64, (age, unused_for): (Option<u64>, u64), what: &str) -> String {
    let age = age.map(units::span).unwrap_or_default();
    format!("{}  {}  {}  {what}", size(bytes), text::pad(&age, 8), text::pad(&units::span(unused_for), 8))
}

fn below(what: &str) -> String {
    format!("{}{what}", " ".repeat(30))
}

fn size(bytes: u64) -> String {
    text::pad(&units::size(bytes), 8)
}

fn marks(marks: &[(&str, bool)]) -> String {
    let set: Vec<&str> = marks.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect();
    if set.is_empty() { String::new() } else { format!("  ({})", set.join(", ")) }
}

fn after(checkpoint: &Checkpoint) -> String {
    let title = text::sanitize(checkpoint.after.as_deref().unwrap_or(&checkpoint.id));
    match &checkpoint.name {
        Some(name) => format!("{title} {:?}", text::sanitize(name)),
        None => title,
    }
}

fn whose(script: &str, build: Option<&str>) -> String {
    let build = build.filter(|build| !build.is_empty()).map_or_else(String::new, |build| format!(" ({build})"));
    text::sanitize(&format!("{script}{build}"))
}

fn records_of(records: &Records) -> String {
    match records.script.as_str() {
        "" => format!("nobody that can be read: {}", count(records.count, "operation")),
        script => format!("{}: {}", whose(script, Some(&records.build)), count(records.count, "operation")),
    }
}

fn files(contents: &Contents) -> String {
    format!("in {} that runs made, kept to be brought back", count(contents.files.count, "file"))
}

fn leftovers(contents: &Contents) -> String {
    format!("in {} that were never completed", count(contents.leftovers.count, "file"))
}

fn origin(entry: &Entry) -> String {
    text::sanitize(entry.origin.as_deref().unwrap_or(&entry.path.to_string_lossy()))
}

fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
