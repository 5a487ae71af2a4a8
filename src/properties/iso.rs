//! ISO 9660 images.

use std::collections::BTreeMap;
use std::path::Path;

use super::iso_reader::{self, Names};
use super::source::Source;
use crate::host::blocking::Cancel;
use crate::media::iso::{Content, Volume};
use crate::ui::event::Counter;

const PIECES: &[&str] = &[
    "a",
    "B",
    "b",
    "1",
    ".",
    "..",
    " ",
    "-",
    "_",
    "~",
    ";",
    ":",
    "*",
    "\\",
    "é",
    "日",
    "𝄞",
    "long-name-",
    "x.conf",
    "\u{1}",
];

/// A reader that follows the standards finds every file by either kind of name, and each name once.
pub(super) fn holds(data: &[u8]) {
    let mut source = Source::new(data);
    let mut volume = Volume::new("cidata").unwrap();
    let mut files = BTreeMap::new();
    let mut folders: Vec<String> = vec![String::new()];
    while !source.is_empty() && files.len() < 60 {
        let folder = source.pick(&folders.iter().map(String::as_str).collect::<Vec<_>>()).to_owned();
        let name = format!("{folder}{}", source.text(PIECES, 12));
        if source.below(6) == 5 && folders.len() < 12 {
            if volume.add_folder(&name).is_ok() {
                folders.push(format!("{name}/"));
            }
            continue;
        }
        let size = if source.below(8) == 7 { 2040 + source.below(4096) } else { source.below(16) };
        let content: Vec<u8> = (0..size).map(|n| (n / 7) as u8 ^ files.len() as u8).collect();
        if volume.add(&name, Content::Bytes(content.clone())).is_ok() {
            let plain: Vec<&str> = name.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
            files.insert(plain.join("/"), content);
        }
    }
    let mut image = Vec::new();
    volume.write_to(&mut image, Path::new("x"), &Cancel::default(), &Counter::default()).unwrap();
    assert_eq!(iso_reader::files(&image, Names::RockRidge), files);
    // Joliet has each file once; names that it cannot have get underscores, and may come before one that has them itself.
    let joliet = iso_reader::files(&image, Names::Joliet);
    let mut contents: Vec<&Vec<u8>> = joliet.values().collect();
    let mut expected: Vec<&Vec<u8>> = files.values().collect();
    contents.sort();
    expected.sort();
    assert_eq!(contents, expected);
    let plain = |name: &str| name.len() <= 60 && name.chars().all(|c| c.is_ascii_alphanumeric() || "-. /".contains(c));
    for (name, content) in files.iter().filter(|(name, _)| plain(name)) {
        assert_eq!(joliet.get(name), Some(content), "{name:?} among {:?}", joliet.keys());
    }
    assert_eq!(iso_reader::files(&image, Names::Short).len(), files.len());
}
