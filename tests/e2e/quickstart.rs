//! `examples/quickstart/build.lua`, whole: an image from packages, booted twice, packaged.

use std::path::Path;

use super::support::library::{skip, tool};
use super::support::rimg::{Run, Sandbox};
use rimg::host::process::which;

#[test]
fn quickstart_passes_rimg_check() {
    let sandbox = Sandbox::new();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/quickstart");
    for file in ["build.lua", "web.service"] {
        sandbox.write(file, std::fs::read(example.join(file)).unwrap());
    }
    sandbox.rimg(["check", "build.lua"]).expect_code(0);
    assert!(!sandbox.join("out").exists());
}

#[test]
fn quickstart_leaves_an_image_a_box_checksums_and_a_manifest() {
    for program in ["mmdebstrap", "qemu-system-x86_64", "qemu-img"] {
        if which(program).is_none() {
            return skip(&format!("{program} is not installed"));
        }
    }
    let sandbox = Sandbox::new();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/quickstart");
    for file in ["build.lua", "web.service"] {
        sandbox.write(file, std::fs::read(example.join(file)).unwrap());
    }
    let mut command = sandbox.command(["run", "build.lua", "-v", "greeting=Built by a test"]);
    // The image of packages that the first command of the README has made, where it has.
    if std::env::var_os("CI").is_some() {
        command.env("RIMG_CACHE_DIR", rimg::host::dirs::cache().unwrap());
    }
    Run::of(&mut command).expect_code(0);
    let out = sandbox.join("out");
    let info = tool(&out, "qemu-img", &["info", "--output=json", "quickstart.qcow2"]);
    let info: serde_json::Value = serde_json::from_slice(&info).unwrap();
    assert_eq!(info["format"], "qcow2");
    assert!(info.get("backing-filename").is_none(), "{info}");
    let listed = tool(&out, "tar", &["-tzf", "quickstart.box"]);
    assert!(String::from_utf8_lossy(&listed).contains("metadata.json"));
    let manifest: serde_json::Value = serde_json::from_str(&sandbox.read("out/manifest.json")).unwrap();
    assert_eq!(manifest["builds"][0]["name"], "quickstart");
    let sums: Vec<_> = std::fs::read_dir(&out)
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with("sum") || name.contains(".sha256"))
        .collect();
    assert_eq!(sums.len(), 2, "{sums:?}");
    for sums in &sums {
        tool(&out, "sha256sum", &["-c", sums]);
    }
}
