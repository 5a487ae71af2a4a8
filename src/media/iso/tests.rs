//! Images are read back by another program.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;

use super::*;
use crate::media::testing::files_below;

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
    Some(files_below(&out.path().join("x")))
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
    assert!(volume.add(&"x".repeat(161), Content::Bytes(vec![])).is_err());
    assert!(Volume::new("much too long a label for any ISO").is_err());
    let iso = volume.write(&dir.path().join("v.iso")).unwrap();
    let Some(found) = unpack(&iso, &[]) else { return };
    assert_eq!(found["a/driver.bin"].len(), 3_000_000);
    volume.add("gone", Content::File(dir.path().join("gone"))).unwrap();
    let error = volume.write(&dir.path().join("w.iso")).unwrap_err();
    assert!(error.message().contains("gone"), "{error}");
    assert!(!dir.path().join("w.iso").exists());
}

#[test]
fn a_file_of_several_extents_is_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let files: BTreeMap<String, Vec<u8>> = [0, 1, 2048 * 3 - 1, 2048 * 3, 2048 * 3 + 1, 2048 * 200 + 7]
        .into_iter()
        .map(|size: usize| (format!("dir/f{size}"), (0..size).map(|n| (n / 2048) as u8).collect()))
        .collect();
    let mut volume = Volume::new("big").unwrap();
    volume.max_extent = 2048 * 3;
    for (name, bytes) in &files {
        volume.add(name, Content::Bytes(bytes.clone())).unwrap();
    }
    let iso = volume.write(&dir.path().join("v.iso")).unwrap();
    let Some(found) = unpack(&iso, &[]) else { return };
    assert_eq!(found, files);
    assert_eq!(unpack(&iso, &["-read_fs", "norock"]).unwrap(), files);
}

#[test]
fn names_that_joliet_does_not_allow_are_replaced_in_it_alone() {
    let long = "l".repeat(150);
    let files: BTreeMap<String, Vec<u8>> = [
        "a:b.txt",
        "a*b.txt",
        "perl/Foo::Bar.3pm",
        &format!("{long}1.conf"),
        &format!("{long}2.conf"),
        "-",
        ".a",
        "x.",
    ]
    .into_iter()
    .map(|name| (name.to_owned(), name.as_bytes().to_vec()))
    .collect();
    let (_dir, iso) = image(&files);
    let Some(found) = unpack(&iso, &[]) else { return };
    assert_eq!(found, files);
    let joliet: Vec<String> = unpack(&iso, &["-read_fs", "norock"]).unwrap().into_keys().collect();
    let short = "l".repeat(98);
    let expected = ["-", ".a", "a_b.txt", "a_b~1.txt", &format!("{}.conf", short), "perl/Foo__Bar.3pm"];
    for name in expected {
        assert!(joliet.iter().any(|found| found == name), "{name}: {joliet:?}");
    }
    assert_eq!(joliet.len(), files.len());
}

#[test]
fn a_folder_and_a_file_never_look_the_same() {
    let mut volume = Volume::new("x").unwrap();
    volume.add_folder("a*").unwrap();
    volume.add("a?", Content::Bytes(b"file".to_vec())).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let iso = volume.write(&dir.path().join("v.iso")).unwrap();
    let Some(found) = unpack(&iso, &["-read_fs", "norock"]) else { return };
    assert_eq!(found.keys().collect::<Vec<_>>(), ["a_~1"]);
}

#[test]
fn folders_may_be_empty_or_deep_and_scripts_stay_executable() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("setup.sh");
    std::fs::write(&script, "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).unwrap();
    let mut volume = Volume::new("A_label_of_32_characters_it_is_.").unwrap();
    volume.add("setup.sh", Content::File(script)).unwrap();
    volume.add_folder("empty/er").unwrap();
    volume.add_folder("empty").unwrap();
    let deep = format!("{}/f", ["d"; 20].join("/"));
    volume.add(&deep, Content::Bytes(b"deep".to_vec())).unwrap();
    assert!(volume.add_folder("setup.sh").is_err());
    let iso = volume.write(&dir.path().join("v.iso")).unwrap();
    let Some(found) = unpack(&iso, &[]) else { return };
    assert_eq!(found[&deep], b"deep");
    let listed =
        Command::new("xorriso").args(["-indev"]).arg(&iso).args(["-find", "/", "-exec", "lsdl"]).output().unwrap();
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.lines().any(|line| line.starts_with("-rwxr-xr-x") && line.ends_with("'/setup.sh'")), "{listed}");
    assert!(listed.lines().any(|line| line.starts_with("drwxr-xr-x") && line.ends_with("'/empty/er'")), "{listed}");
    let label = Command::new("blkid").args(["-o", "value", "-s", "LABEL"]).arg(&iso).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&label.stdout).trim(), "A_label_of_32_characters_it_is_.");
}

#[test]
fn many_files_with_the_same_beginning_take_no_time() {
    let started = std::time::Instant::now();
    let mut volume = Volume::new("many").unwrap();
    for n in 0..20_000 {
        volume.add(&format!("d/driver-package-{n}.inf"), Content::Bytes(Vec::new())).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    volume.write(&dir.path().join("v.iso")).unwrap();
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn any_tree_comes_back(
        files in prop::collection::btree_map("[a-zA-Zé][a-zA-Z0-9 ._:日-]{0,30}(/[a-z][a-zA-Z0-9.ß-]{0,50}){0,4}",
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
