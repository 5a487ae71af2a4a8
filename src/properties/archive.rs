//! Folders that a machine sends.

use std::collections::BTreeSet;
use std::path::Path;

use tar::{EntryType, Header};

use super::source::Source;
use crate::communicator::tree::unpack::unpack_into;
use crate::ui::event::Counter;

const SENTINEL: &str = "what was there before";

/// Nothing lands outside the folder, whatever the stream says; files that lead nowhere else arrive.
pub(super) fn holds(data: &[u8]) {
    let outer = tempfile::tempdir().unwrap();
    std::fs::write(outer.path().join("sentinel"), SENTINEL).unwrap();
    let _ = unpack(data, outer.path(), "raw");
    let mut source = Source::new(data);
    let (stream, files) = stream(&mut source, outer.path());
    let unpacked = unpack(&stream, outer.path(), "made");
    // With nothing but files that do not get into each other's way there is nothing to refuse.
    if let Some(files) = files {
        assert!(unpacked, "{files:?}");
        let found = std::fs::read_dir(outer.path().join("made")).unwrap();
        let found: BTreeSet<_> = found.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        assert_eq!(found, files);
    }
}

fn unpack(stream: &[u8], outer: &Path, name: &str) -> bool {
    let target = outer.join(name);
    std::fs::create_dir(&target).unwrap();
    let done = unpack_into(stream, &target, &Counter::default()).is_ok();
    let around: BTreeSet<_> = std::fs::read_dir(outer).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(around.iter().all(|name| name == "sentinel" || name == "raw" || name == "made"), "{around:?}");
    let sentinel = outer.join("sentinel");
    assert!(std::fs::symlink_metadata(&sentinel).unwrap().is_file());
    assert_eq!(std::fs::read_to_string(&sentinel).unwrap(), SENTINEL);
    done
}

/// Makes a stream, with the names of its files where there is nothing else in it.
fn stream(source: &mut Source<'_>, outer: &Path) -> (Vec<u8>, Option<BTreeSet<String>>) {
    let outer = outer.to_str().unwrap();
    let pieces = ["a", "b", "c", "/", "..", "../sentinel", "sentinel", ".", outer, "\\", "é"];
    let kinds = [
        EntryType::Regular,
        EntryType::Directory,
        EntryType::Symlink,
        EntryType::Link,
        EntryType::Continuous,
        EntryType::Fifo,
        EntryType::Char,
    ];
    let harmless = source.flag();
    let (mut bytes, mut names) = (Vec::new(), BTreeSet::new());
    for number in 0..source.below(8) {
        let kind = if harmless { EntryType::Regular } else { source.pick(&kinds) };
        let name = if harmless { format!("f{number}") } else { source.text(&pieces, 4) };
        let content = source.bytes(20);
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        // The library itself refuses to write what leads outside.
        let (name_field, link_field) = {
            let old = header.as_old_mut();
            (&mut old.name, &mut old.linkname)
        };
        fill(name_field, &name);
        fill(link_field, &source.text(&pieces, 3));
        let size = if matches!(kind, EntryType::Regular | EntryType::Continuous) { content.len() } else { 0 };
        header.set_size(size as u64);
        header.set_mode(0o600 | u32::from(source.byte()) & 0o77);
        header.set_mtime(source.number() >> 20);
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(content.get(..size).unwrap_or_default());
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        names.insert(name);
    }
    bytes.resize(bytes.len() + 1024, 0);
    (bytes, harmless.then_some(names))
}

fn fill(field: &mut [u8], text: &str) {
    field.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
}
