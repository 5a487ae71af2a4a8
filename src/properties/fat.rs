//! Floppies.

use std::collections::BTreeMap;

use futures_util::FutureExt;

use super::fat_reader;
use super::source::Source;
use crate::engine::Value;
use crate::engine::options::decode;
use crate::engine::placeholders::Placeholders;
use crate::error::Result;
use crate::media::fat::Floppy;
use crate::media::medium::Medium;

const PIECES: &[&str] = &[
    "a",
    "B",
    "b",
    "1",
    ".",
    " ",
    "-",
    "_",
    "~1",
    "+",
    ",;=[]",
    "é",
    "É",
    "ß",
    "日",
    "𝄞",
    "LONGNAME",
    "long-name-",
    "/",
    ".TXT",
    ":",
    "\u{1}",
];

/// A reader that follows the standard finds every file, each cluster has one owner, and what does not fit is refused.
pub(super) fn holds(data: &[u8]) {
    let mut source = Source::new(data);
    let mut files = BTreeMap::new();
    while !source.is_empty() && files.len() < 40 {
        let name = source.text(PIECES, 10).split('/').filter(|name| !name.is_empty()).collect::<Vec<_>>().join("/");
        let size = if source.below(8) == 7 { source.below(60_000) } else { source.below(520) };
        files.insert(name.clone(), (0..size).map(|n| (n / 5) as u8 ^ files.len() as u8).collect());
        if floppy(&files).is_err() {
            files.remove(&name);
        }
    }
    let image = floppy(&files).and_then(|floppy| floppy.image()).unwrap();
    assert_eq!(fat_reader::files(&image), files);
}

fn floppy(files: &BTreeMap<String, Vec<u8>>) -> Result<Floppy> {
    let contents = files.iter().map(|(path, bytes)| (path.clone(), Value::Bytes(bytes.clone()))).collect();
    let contents = decode("x", Value::Map(contents))?;
    let mut medium = Medium::default();
    medium.add_contents("x", &contents, &Placeholders::default()).now_or_never().expect("no function among them")?;
    Floppy::new("cidata", &medium)
}
