//! Records of operations, which other runs read.

use super::source::Source;
use crate::engine::replay::key::Key;
use crate::engine::replay::record::{Outcome, ROOT, Record};
use crate::engine::replay::records::{Owner, Records};

/// What was written is found; with any byte changed, or cut off, it is as if there had never been a record.
pub(super) fn holds(data: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let records = Records::new(folder.path());
    let mut source = Source::new(data);
    let owner = Owner { script: source.text(&["/a.lua", "é", "\n"], 2), build: source.text(&["web", "\"", "\0"], 2) };
    let request = serde_json::json!({ "line": String::from_utf8_lossy(data), "n": source.number() });
    let key = Key::ROOT.next("run", &request);
    let result = serde_json::json!({ "stdout": source.text(&["a", "\\", "\u{1b}", "日"], 9) });
    let what = ("run", source.text(&["x", "\n", "'"], 3), request);
    let record = Record::new(&owner, ROOT, key, what, Outcome::Done(result), source.number() as f64);
    records.write(&record).unwrap();
    let find = || records.find(ROOT, &key, &owner);
    let found = find();
    assert_eq!(serde_json::to_value(&found).unwrap(), serde_json::to_value([&record]).unwrap());

    let entry = std::fs::read_dir(folder.path().join(ROOT)).unwrap().next().unwrap().unwrap();
    let whole = std::fs::read(entry.path()).unwrap();
    let at = source.below(whole.len());
    let mut damaged = whole.clone();
    match source.below(3) {
        0 => damaged.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << (at % 8)),
        1 => damaged.truncate(at),
        _ => damaged = data.to_vec(),
    }
    std::fs::write(entry.path(), damaged).unwrap();
    assert!(find().is_empty());
}
