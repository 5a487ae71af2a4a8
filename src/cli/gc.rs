//! `rimg gc`: removes what dead runs left.

use serde::Serialize;

use super::args::GcArgs;
use super::dispatch::Exit;
use super::out;
use crate::builder;
use crate::engine::journal::collect::{Fate, Item, Wanted, collect};
use crate::error::{Error, Kind, Result};
use crate::host::dirs;
use crate::ui::{text, units};

#[derive(Serialize)]
struct Answer {
    items: Vec<Item>,
    dry_run: bool,
}

/// Removes what the command line names, or what all dead runs left, and says what it did.
pub fn gc(args: GcArgs) -> Result<Exit> {
    let (state_dir, cache_dir) = (dirs::state()?, dirs::cache()?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|e| Error::new(Kind::Host, "cannot start the threads of a collection").caused_by(e))?;
    let wanted = Wanted { names: args.names, dry_run: args.dry_run };
    let mut said = Ok(());
    let mut tell = |item: &Item| {
        if !args.json && said.is_ok() {
            said = out::print(&format!("{}\n", line(item)));
        }
    };
    let items = runtime.block_on(collect((&state_dir, &cache_dir), &wanted, builder::COLLECTORS, &mut tell))?;
    said?;
    let stays = items.iter().any(|item| item.fate == Fate::Stays);
    match args.json {
        true => out::print_json(&Answer { items, dry_run: args.dry_run })?,
        false if items.is_empty() => out::print("Nothing is left of earlier runs.\n")?,
        false => out::print(&format!("{}\n", summary(&items)))?,
    }
    Ok(if stays { Exit::Failed } else { Exit::Done })
}

fn line(item: &Item) -> String {
    let verb = match item.fate {
        Fate::Removed if item.kind == "process" => "Ended",
        Fate::Removed => "Removed",
        Fate::Restored => "Put back",
        Fate::WouldRemove if item.kind == "process" => "Would end",
        Fate::WouldRemove => "Would remove",
        Fate::WouldRestore => "Would put back",
        Fate::Stays => "Stays:",
    };
    let facts = [
        (!item.build.is_empty()).then(|| format!("build {}", item.build)),
        (!item.run.is_empty()).then(|| format!("run {}", item.run)),
        item.age.map(|age| format!("{} old", units::span(age))),
        item.bytes.map(units::size),
    ];
    let facts: Vec<String> = facts.into_iter().flatten().collect();
    let facts = if facts.is_empty() { String::new() } else { format!(" ({})", facts.join(", ")) };
    let why = item.why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
    text::sanitize(&format!("{verb} {} {}{facts}{why}", item.kind, item.name))
}

fn summary(items: &[Item]) -> String {
    let count = |fates: &[Fate]| items.iter().filter(|item| fates.contains(&item.fate)).count();
    let bytes = items.iter().filter(|item| item.fate != Fate::Stays).filter_map(|item| item.bytes).sum();
    let would = count(&[Fate::WouldRemove, Fate::WouldRestore]);
    let mut parts = Vec::new();
    if would > 0 {
        parts.push(format!("{would} to remove"));
    }
    let gone = count(&[Fate::Removed, Fate::Restored]);
    if gone > 0 {
        parts.push(format!("{gone} removed"));
    }
    let stays = count(&[Fate::Stays]);
    if stays > 0 {
        parts.push(format!("{stays} left, which the next `rimg gc` tries again"));
    }
    format!("{} in all; {}.", units::size(bytes), parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_whose_how_old_and_why() {
        let item = Item {
            fate: Fate::Stays,
            kind: "machine".into(),
            name: "web\u{1b}[31m".into(),
            build: "web".into(),
            run: "abc".into(),
            age: Some(90),
            bytes: Some(2 << 20),
            why: Some("no answer".into()),
        };
        let shown = line(&item);
        assert!(!shown.contains('\u{1b}'), "{shown}");
        assert!(
            shown.starts_with("Stays: machine web") && shown.ends_with("1 min old, 2.00 MiB): no answer"),
            "{shown}"
        );
        assert!(summary(&[item]).contains("1 left"));
    }
}
