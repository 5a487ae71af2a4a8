//! Images are read back by another program.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;

use super::*;

/// Unpacks an image with xorriso, and returns what was in it; none when xorriso is missing.
fn unpack(iso: &Path, args: &[&str]) -> Option<BTreeMap<String, Vec<u8>>> {
    if crate::host::process::which("xorriso").is_none() {
        assert!(std::env::var_os("CI").is_none(), "xorriso is not installed");
        return None;
    }
    let out = tempfile::tempdir().unwrap();
    let run = Command::new("xorriso")
        .args(args)
        .args(["-osirrox", "on", "-indev"])
        .arg(iso)
        .args(["-extract", "/"])
        .arg(out.path().join("x"))
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    fn walk(root: &Path, at: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(&out.path().join("x"), &out.path().join("x"), &mut found);
    Some(found)
}

fn image(files: &BTreeMap<String, Vec<u8>>) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let mut volume = Volume::new("cidata").unwrap();
    for (name, bytes) in files {
        volume.add(name, Content::Bytes(bytes.clone())).unwrap();
    }
    let iso = volume.write(&dir.path().join("v.iso")).unwrap();
    (dir, iso)
}

#[test]
fn another_reader_finds_every_file_by_either_kind_of_name() {
    let mut files = BTreeMap::new();
    files.insert("user-data".to_owned(), b"#cloud-config\n".to_vec());
    files.insert("empty".to_owned(), Vec::new());
    files.insert("Größe/deep/er/a file with spaces.tar.gz".to_owned(), vec![1; 5000]);
    files.insert("Größe/deep/er/a file with spaces.tar.xz".to_owned(), vec![2; 2048]);
    // More than one sector of records.
    for n in 0..60 {
        files.insert(format!("many/a-rather-long-file-name-number-{n}.conf"), n.to_string().into_bytes());
    }
    let (_dir, iso) = image(&files);
    let Some(rock_ridge) = unpack(&iso, &[]) else { return };
    assert_eq!(rock_ridge, files);
    let joliet = unpack(&iso, &["-read_fs", "norock"]).unwrap();
    assert_eq!(joliet, files);
    let label = Command::new("blkid").args(["-o", "value", "-s", "LABEL"]).arg(&iso).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&label.stdout).trim(), "cidata");
}

#[test]
fn host_files_are_copied_and_names_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("driver.bin");
    std::fs::write(&source, vec![9u8; 3_000_000]).unwrap();
    let mut volume = Volume::new("DRIVERS").unwrap();
    volume.add("a/driver.bin", Content::File(source)).unwrap();
    assert!(volume.add("a/driver.bin", Content::Bytes(vec![])).is_err());
    assert!(volume.add("a", Content::Bytes(vec![])).is_err());
    assert!(volume.add("a/driver.bin/b", Content::Bytes(vec![])).is_err());
    assert!(volume.add("../b", Content::Bytes(vec![])).is_err());
    assert!(volume.add(&"x".repeat(120), Content::Bytes(vec![])).is_err());
    assert!(Volume::new("much too long a label").is_err());
    let iso = volume.write(&dir.path().join("v.iso")).unwrap();
    let Some(found) = unpack(&iso, &[]) else { return };
    assert_eq!(found["a/driver.bin"].len(), 3_000_000);
    volume.add("gone", Content::File(dir.path().join("gone"))).unwrap();
    let error = volume.write(&dir.path().join("w.iso")).unwrap_err();
    assert!(error.message().contains("gone"), "{error}");
    assert!(!dir.path().join("w.iso").exists());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn any_tree_comes_back(
        files in prop::collection::btree_map("[a-zA-Zé][a-zA-Z0-9._-]{0,30}(/[a-z][a-zA-Z0-9.-]{0,12}){0,4}",
            prop::collection::vec(any::<u8>(), 0..5000), 0..30)
    ) {
        let mut volume = Volume::new("t").unwrap();
        let mut kept = BTreeMap::new();
        for (name, bytes) in files {
            // A name may be a folder of another; that is refused, and tested above.
            if volume.add(&name, Content::Bytes(bytes.clone())).is_ok() {
                kept.insert(name, bytes);
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let iso = volume.write(&dir.path().join("v.iso")).unwrap();
        if let Some(found) = unpack(&iso, &[]) {
            prop_assert_eq!(found, kept);
        }
    }
}
