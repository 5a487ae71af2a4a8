//! The properties with random bytes, and with what the fuzz targets begin with.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{ALL, check};

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz")
}

macro_rules! properties {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            let name = stringify!($name);
            for seed in std::fs::read_dir(fuzz().join("seeds").join(name)).unwrap() {
                check(name, &std::fs::read(seed.unwrap().path()).unwrap());
            }
            // Screens are searched for glyphs of every font, which takes its time without optimization.
            let cases = if name == "screen" { 12 } else { 256 };
            let config = Config { failure_persistence: None, ..Config::with_cases(cases) };
            let bytes = proptest::collection::vec(any::<u8>(), 0..400);
            let run = TestRunner::new(config).run(&bytes, |bytes| {
                check(name, &bytes);
                Ok(())
            });
            run.unwrap_or_else(|error| panic!("{error}"));
        })*
        const TESTED: &[&str] = &[$(stringify!($name)),*];
    };
}

properties! {
    answers archive boot_command checksum content_range fat http iso journal options placeholders qmp records scp screen
    ssh_files terminal
}

#[test]
fn each_property_has_a_test_and_a_fuzz_target() {
    let names: BTreeSet<String> = ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
    let stems = |folder: &str| -> BTreeSet<String> {
        let entries = std::fs::read_dir(fuzz().join(folder)).unwrap();
        entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    assert_eq!(TESTED.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>(), names);
    assert_eq!(stems("fuzz_targets"), names);
    assert_eq!(stems("seeds"), names);
    let manifest: toml::Table = std::fs::read_to_string(fuzz().join("Cargo.toml")).unwrap().parse().unwrap();
    let built = manifest["bin"].as_array().unwrap().iter().map(|bin| bin["name"].as_str().unwrap().to_owned());
    assert_eq!(built.collect::<BTreeSet<_>>(), names);
}
