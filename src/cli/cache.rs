//! `rimg cache`: what has been downloaded, and getting rid of it.

use serde::Serialize;

use super::args::{CacheArgs, CacheCommand, CachePruneArgs};
use super::dispatch::Exit;
use super::out;
use crate::error::Result;
use crate::host::dirs;
use crate::media::cache::{self, Entry};
use crate::ui::{text, units};

/// What prune removes when it is not told.
const UNUSED_FOR: u64 = 30 * 24 * 3600;

#[derive(Serialize)]
struct Listing<'a> {
    folder: String,
    entries: &'a [Entry],
    total: u64,
}

#[derive(Serialize)]
struct Removal {
    removed: Vec<Entry>,
    /// What a run works with, and is therefore left.
    in_use: Vec<Entry>,
    freed: u64,
    dry_run: bool,
}

/// Shows or removes what is in the cache.
pub fn cache(args: &CacheArgs) -> Result<Exit> {
    let dir = dirs::cache()?;
    let entries = cache::entries(&dir)?;
    match &args.command {
        CacheCommand::Ls(args) => {
            let total = sum(&entries);
            match args.json {
                true => {
                    let folder = dir.join(cache::FOLDER).display().to_string();
                    out::print_json(&Listing { folder, entries: &entries, total })?;
                }
                false => out::print(&listed(&entries))?,
            }
        }
        CacheCommand::Prune(args) => {
            let removal = remove(chosen(entries, args), args.dry_run)?;
            if !args.dry_run {
                cache::clear_notes(&dir, false)?;
            }
            say(&removal, args.json)?;
        }
        CacheCommand::Clear(args) => {
            let removal = remove(entries, false)?;
            cache::clear_notes(&dir, true)?;
            say(&removal, args.json)?;
        }
    }
    Ok(Exit::Done)
}

/// Returns what is to go: what was not used for long, then the least recently used of what is too much.
fn chosen(mut entries: Vec<Entry>, args: &CachePruneArgs) -> Vec<Entry> {
    let unused_for = match (args.unused_for, args.max_size) {
        (Some(limit), _) => limit.0.as_secs(),
        (None, Some(_)) => u64::MAX,
        (None, None) => UNUSED_FOR,
    };
    entries.sort_by_key(|entry| entry.unused_for);
    let most = args.max_size.map_or(u64::MAX, |size| size.0);
    let mut kept = 0u64;
    entries.retain(|entry| {
        let fits = entry.unused_for < unused_for && kept.saturating_add(entry.size) <= most;
        if fits {
            kept += entry.size;
        }
        !fits
    });
    entries
}

fn remove(entries: Vec<Entry>, dry_run: bool) -> Result<Removal> {
    let mut removal = Removal { removed: Vec::new(), in_use: Vec::new(), freed: 0, dry_run };
    for entry in entries {
        let gone = if dry_run { !entry.in_use } else { entry.remove()? };
        if gone {
            removal.freed += entry.size;
            removal.removed.push(entry);
        } else {
            removal.in_use.push(entry);
        }
    }
    Ok(removal)
}

fn say(removal: &Removal, json: bool) -> Result<()> {
    if json {
        return out::print_json(removal);
    }
    let mut lines = String::new();
    let verb = if removal.dry_run { "Would remove" } else { "Removed" };
    for entry in &removal.removed {
        lines.push_str(&format!("{verb} {}  {}\n", text::pad(&units::size(entry.size), 8), name(entry)));
    }
    for entry in &removal.in_use {
        lines.push_str(&format!("In use, left: {}\n", name(entry)));
    }
    lines.push_str(&format!("{verb} {} in all.\n", units::size(removal.freed)));
    out::print(&lines)
}

fn sum(entries: &[Entry]) -> u64 {
    entries.iter().map(|entry| entry.size).sum()
}

fn name(entry: &Entry) -> String {
    text::sanitize(entry.origin.as_deref().unwrap_or(&entry.path.to_string_lossy()))
}

/// Returns the entries as a person reads them.
fn listed(entries: &[Entry]) -> String {
    if entries.is_empty() {
        return "The cache is empty.\n".to_owned();
    }
    let mut lines =
        vec![format!("{}  {}  {}  FROM", text::pad("SIZE", 8), text::pad("AGE", 8), text::pad("UNUSED", 8))];
    for entry in entries {
        let mut marks = Vec::new();
        if entry.partial {
            marks.push("partial");
        }
        if entry.in_use {
            marks.push("in use");
        }
        let marks = if marks.is_empty() { String::new() } else { format!("  ({})", marks.join(", ")) };
        lines.push(format!(
            "{}  {}  {}  {}{marks}",
            text::pad(&units::size(entry.size), 8),
            text::pad(&span(entry.age), 8),
            text::pad(&span(entry.unused_for), 8),
            name(entry),
        ));
        lines.push(format!("{}{}", " ".repeat(30), text::sanitize(&entry.path.to_string_lossy())));
    }
    lines.push(format!("{} in {} files.\n", units::size(sum(entries)), entries.len()));
    lines.join("\n")
}

/// Returns a span of time by its largest unit.
fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        let shown: Vec<String> = [0, 59, 60, 7199, 86_399, 86_400 * 40].map(span).to_vec();
        assert_eq!(shown, ["0 s", "59 s", "1 min", "1 h", "23 h", "40 days"]);
    }
}
