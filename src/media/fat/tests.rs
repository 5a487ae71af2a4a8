//! Images are checked by dosfstools and read back by mtools.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;

use super::*;
use crate::engine::Value;
use crate::engine::options::decode;
use crate::engine::placeholders::Placeholders;
use crate::error::Result;
use crate::host::process::which;
use crate::media::medium::Medium;
use crate::media::testing::files_below;

fn medium(files: &BTreeMap<String, Vec<u8>>) -> Result<Medium> {
    let contents = files.iter().map(|(path, bytes)| (path.clone(), Value::Bytes(bytes.clone()))).collect();
    let contents = decode("x", Value::Map(contents)).unwrap();
    let mut medium = Medium::default();
    futures_util::FutureExt::now_or_never(medium.add_contents("x", &contents, &Placeholders::default())).unwrap()?;
    Ok(medium)
}

fn image(label: &str, files: &BTreeMap<String, Vec<u8>>) -> Result<(tempfile::TempDir, PathBuf)> {
    let dir = tempfile::tempdir().unwrap();
    let image = Floppy::new(label, &medium(files)?)?.write(&dir.path().join("floppy.img"))?;
    assert_eq!(std::fs::metadata(&image).unwrap().len(), 1_474_560);
    Ok((dir, image))
}

/// Runs a program; nothing when it is not installed.
fn run(program: &str, args: &[&str], image: &Path, rest: &[&str]) -> Option<String> {
    // Debian has fsck in /usr/sbin, which not every PATH has.
    let sbin = Path::new("/usr/sbin").join(program);
    let Some(found) = which(program).or_else(|| sbin.exists().then_some(sbin)) else {
        assert!(std::env::var_os("CI").is_none(), "{program} is not installed");
        return None;
    };
    let run = Command::new(found).args(args).arg(image).args(rest).env("LC_ALL", "C.UTF-8").output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{program}: {said}");
    Some(said)
}

/// Copies everything off an image with mtools, and returns it.
fn unpack(image: &Path) -> Option<BTreeMap<String, Vec<u8>>> {
    let out = tempfile::tempdir().unwrap();
    run("mcopy", &["-s", "-n", "-i"], image, &["::", out.path().to_str().unwrap()])?;
    Some(files_below(out.path()))
}

fn files(entries: &[(&str, &[u8])]) -> BTreeMap<String, Vec<u8>> {
    entries.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec())).collect()
}

#[test]
fn mtools_reads_every_byte_and_fsck_finds_nothing_wrong() {
    let big: Vec<u8> = (0..700_000u32).map(|n| (n % 253) as u8).collect();
    let mut files = files(&[
        ("Autounattend.xml", b"<unattend/>"),
        ("README.TXT", &[1; 512]),
        ("empty", b""),
        ("drivers/viostor/amd64/viostor.inf", &[2; 513]),
        (
            "drivers/viostor/amd64/a name with spaces, and 100 characters or so, to take many entries of the folder.cat",
            b"c",
        ),
        ("Gr\u{f6}\u{df}e/\u{65e5}\u{672c}.txt", b"unicode"),
        ("exactly-13-ab", b"13"),
        ("exactly-26-characters-long", b"26"),
        (".hidden", b"h"),
        ("big.bin", &big),
    ]);
    for n in 0..50 {
        files.insert(format!("many/file number {n}.conf"), n.to_string().into_bytes());
    }
    let (_dir, image) = image("cidata", &files).unwrap();
    let Some(found) = unpack(&image) else { return };
    assert_eq!(found.keys().collect::<Vec<_>>(), files.keys().collect::<Vec<_>>());
    assert!(found == files);
    let checked = run("fsck.vfat", &["-n", "-v"], &image, &[]).unwrap();
    assert!(checked.contains("FAT size") || checked.contains("bytes per"), "{checked}");
    assert!(!checked.to_lowercase().contains("differ") && !checked.contains("Lowercase"), "{checked}");
    let info = run("minfo", &["-i"], &image, &["::"]).unwrap();
    assert!(info.contains("cidata") && info.contains("FAT12"), "{info}");
    assert_eq!(run("mtype", &["-i"], &image, &["::Autounattend.xml"]).unwrap(), "<unattend/>");
    let label = Command::new("blkid").args(["-o", "value", "-s", "LABEL"]).arg(&image).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&label.stdout).trim(), "cidata");
    let listed = run("mdir", &["-/", "-b", "-i"], &image, &["::"]).unwrap();
    assert!(listed.contains("::/drivers/viostor/amd64/viostor.inf"), "{listed}");
}

#[test]
fn what_does_not_fit_is_said_with_numbers() {
    let message = |files: &BTreeMap<String, Vec<u8>>| image("x", files).err().unwrap().message().to_owned();
    let full = files(&[("a", &[1; 2847 * 512])]);
    let (_dir, fits) = image("x", &full).unwrap();
    if let Some(found) = unpack(&fits) {
        assert!(found == full);
    }
    assert_eq!(
        message(&files(&[("a", &[1; 2847 * 512]), ("b", b"x")])),
        "the floppy has room for 1457664 bytes, and would need 1458176: 512 too many"
    );
    let many = (0..112).map(|n| (format!("file-{n}"), Vec::new())).collect();
    assert!(message(&many).contains("room for 224 entries in its root, and would need 225"), "{}", message(&many));
    assert!(message(&files(&[("a:b", b"")])).contains("\"a:b\" cannot be on a floppy: a name"));
    assert!(message(&files(&[("d/x", b""), ("d/X", b"")])).contains("case makes no difference"));
    for label in ["", "  ", "much-too-long", "a.b"] {
        assert!(image(label, &full).err().unwrap().message().contains("cannot be the label of a floppy"), "{label}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn any_tree_comes_back(
        tree in prop::collection::btree_map("[a-zA-Zé][a-zA-Z0-9 +,;=\\[\\]._日-]{0,60}[a-z](/[a-zß][a-zA-Z0-9.]{0,20}[a-z]){0,3}",
            prop::collection::vec(any::<u8>(), 0..5000), 0..25)
    ) {
        let mut kept = BTreeMap::new();
        for (path, bytes) in tree {
            kept.insert(path.clone(), bytes);
            // A name may be a folder of another, or the same but for its case; that is refused, and tested above.
            if medium(&kept).and_then(|medium| Floppy::new("t", &medium)).is_err() {
                kept.remove(&path);
            }
        }
        let (_dir, image) = image("t", &kept).unwrap();
        run("fsck.vfat", &["-n"], &image, &[]);
        if let Some(found) = unpack(&image) {
            prop_assert_eq!(found, kept);
        }
    }
}
