//! What is in the cache, or went from it, in the groups that a person thinks of.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::engine::replay::usage::{Depth, Stock, Thing};
use crate::error::Result;
use crate::media::cache::Entry;

/// Things of the cache by what they are.
#[derive(Debug, Default, Serialize)]
pub struct Contents {
    /// The oldest last.
    pub checkpoints: Vec<Checkpoint>,
    /// The largest first.
    pub records: Vec<Records>,
    /// Content of artifacts and other files, kept to be brought back.
    pub files: Count,
    /// What runs that were killed left half written.
    pub leftovers: Count,
    /// The largest first.
    pub downloads: Vec<Entry>,
}

/// A checkpoint.
#[derive(Debug, Serialize)]
pub struct Checkpoint {
    pub id: String,
    pub path: PathBuf,
    /// Whether it can be used: neither half written nor left by one that was.
    pub usable: bool,
    pub builder: Option<String>,
    pub parent: Option<String>,
    /// The name that it was given by `vm:checkpoint`.
    pub name: Option<String>,
    /// The operation that it was taken after.
    pub after: Option<String>,
    pub script: Option<String>,
    pub build: Option<String>,
    /// Bytes on the disk, without those of its ancestors.
    pub size: u64,
    /// Seconds since it was taken.
    pub age: u64,
    /// Seconds since a run went on from it.
    pub unused_for: u64,
    /// Whether a run works with it.
    pub in_use: bool,
}

/// The records of one build of a script.
#[derive(Debug, Serialize)]
pub struct Records {
    pub script: String,
    pub build: String,
    pub count: u64,
    pub size: u64,
    /// Seconds since any of them was used.
    pub unused_for: u64,
}

/// Things that are only counted.
#[derive(Debug, Default, Serialize)]
pub struct Count {
    pub count: u64,
    pub size: u64,
}

impl Count {
    fn add(&mut self, size: u64) {
        self.count += 1;
        self.size = self.size.saturating_add(size);
    }
}

/// A cache with what there is to know about its downloads, which is read from beside them and goes with them.
pub struct Known {
    pub stock: Stock,
    downloads: BTreeMap<usize, Entry>,
}

impl Known {
    /// Looks at what is in the cache.
    pub fn look(cache_dir: &Path) -> Result<Known> {
        let stock = Stock::look(cache_dir, Depth::Whole)?;
        let entry = |(number, thing): (usize, &Thing)| match thing {
            Thing::Download(files) => Some((number, Entry::of(files)?)),
            _ => None,
        };
        Ok(Known { downloads: stock.things.iter().enumerate().filter_map(entry).collect(), stock })
    }

    /// Groups some of its things, by number.
    pub fn contents(&self, numbers: impl IntoIterator<Item = usize>) -> Contents {
        let stock = &self.stock;
        let mut contents = Contents::default();
        let mut records: BTreeMap<(&str, &str), Records> = BTreeMap::new();
        for number in numbers {
            let (Some(thing), Some(item)) = (stock.things.get(number), stock.items.get(number)) else { continue };
            match thing {
                Thing::Checkpoint { folder, meta } => {
                    let meta = meta.as_deref();
                    let now = jiff::Timestamp::now().as_second();
                    contents.checkpoints.push(Checkpoint {
                        id: folder.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                        path: folder.clone(),
                        usable: !item.junk,
                        builder: meta.map(|meta| meta.builder.clone()),
                        parent: meta.and_then(|meta| meta.parent.clone()),
                        name: meta.and_then(|meta| meta.name.clone()),
                        after: meta.map(|meta| meta.title.clone()),
                        script: meta.map(|meta| meta.script.clone()),
                        build: meta.map(|meta| meta.build.clone()),
                        size: item.size,
                        age: meta.and_then(|meta| u64::try_from(now - meta.at).ok()).unwrap_or_default(),
                        unused_for: item.unused_for,
                        in_use: item.locked,
                    });
                }
                Thing::Record { brief, .. } => {
                    let brief = brief.as_ref();
                    let (script, build) = brief.map_or(("", ""), |brief| (&brief.script, &brief.build));
                    let row = records.entry((script, build)).or_insert_with(|| Records {
                        script: script.to_owned(),
                        build: build.to_owned(),
                        count: 0,
                        size: 0,
                        unused_for: u64::MAX,
                    });
                    row.count += 1;
                    row.size = row.size.saturating_add(item.size);
                    row.unused_for = row.unused_for.min(item.unused_for);
                }
                Thing::File { .. } => contents.files.add(item.size),
                Thing::Scrap { .. } => contents.leftovers.add(item.size),
                Thing::Download(_) => contents.downloads.extend(self.downloads.get(&number).cloned()),
            }
        }
        contents.records = records.into_values().collect();
        contents.records.sort_by_key(|row| std::cmp::Reverse(row.size));
        contents.checkpoints.sort_by(|a, b| a.age.cmp(&b.age).then_with(|| a.id.cmp(&b.id)));
        contents.downloads.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.path.cmp(&b.path)));
        contents
    }
}
