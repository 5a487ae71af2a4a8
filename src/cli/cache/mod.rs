//! `rimg cache`: what is kept of runs and downloads, and getting rid of it.

mod contents;
mod listing;

use std::path::Path;

use serde::Serialize;

use self::contents::{Contents, Known};
use super::args::{CacheArgs, CacheCommand, CachePruneArgs};
use super::dispatch::Exit;
use super::out;
use crate::engine::replay::plan::{Rules, plan};
use crate::engine::replay::space;
use crate::error::Result;
use crate::host::dirs;
use crate::media::cache;
use crate::ui::units;

/// What prune removes when it is not told.
const UNUSED_FOR: u64 = 30 * 24 * 3600;

#[derive(Serialize)]
struct Listing {
    folder: String,
    #[serde(flatten)]
    contents: Contents,
    /// Bytes of all of it.
    total: u64,
}

#[derive(Serialize)]
struct Removed {
    removed: Contents,
    /// What a run works with, and is therefore left.
    in_use: Contents,
    freed: u64,
    dry_run: bool,
}

/// Shows or removes what is in the cache.
pub fn cache(args: &CacheArgs) -> Result<Exit> {
    let dir = dirs::cache()?;
    match &args.command {
        CacheCommand::Ls(args) => list(&dir, args.json)?,
        CacheCommand::Prune(args) => {
            let rules =
                Rules { most: args.max_size.map(|size| size.0), unused_for: unused_for(args), grace: space::GRACE };
            say(&remove(&dir, rules, args.dry_run)?, args.json)?;
            if !args.dry_run {
                cache::clear_notes(&dir, false)?;
                space::sweep(&dir, space::GRACE);
            }
        }
        CacheCommand::Clear(args) => {
            say(&remove(&dir, Rules { most: None, unused_for: Some(0), grace: 0 }, false)?, args.json)?;
            cache::clear_notes(&dir, true)?;
            space::sweep(&dir, space::GRACE);
        }
    }
    Ok(Exit::Done)
}

fn unused_for(args: &CachePruneArgs) -> Option<u64> {
    match (args.unused_for, args.max_size) {
        (Some(limit), _) => Some(limit.0.as_secs()),
        (None, Some(_)) => None,
        (None, None) => Some(UNUSED_FOR),
    }
}

fn list(dir: &Path, json: bool) -> Result<()> {
    let known = Known::look(dir)?;
    let (contents, total) = (known.contents(0..known.stock.things.len()), known.stock.size());
    if json {
        return out::print_json(&Listing { folder: dir.display().to_string(), contents, total });
    }
    if known.stock.things.is_empty() {
        return out::print("The cache is empty.\n");
    }
    out::print(&format!("{}\n{} in all.\n", listing::listed(&contents), units::size(total)))
}

fn remove(dir: &Path, rules: Rules, dry_run: bool) -> Result<Removed> {
    let known = Known::look(dir)?;
    let plan = plan(&known.stock.items, rules);
    let removal = space::remove(&known.stock, &plan, |thing| if dry_run { Ok(true) } else { thing.remove() })?;
    Ok(Removed {
        removed: known.contents(removal.removed),
        in_use: known.contents(removal.in_use),
        freed: removal.bytes,
        dry_run,
    })
}

fn say(removed: &Removed, json: bool) -> Result<()> {
    if json {
        return out::print_json(removed);
    }
    let verb = if removed.dry_run { "Would remove" } else { "Removed" };
    let (gone, left) = (listing::named(&removed.removed, verb), listing::named(&removed.in_use, "In use, left:"));
    out::print(&format!("{gone}{left}{verb} {} in all.\n", units::size(removed.freed)))
}
