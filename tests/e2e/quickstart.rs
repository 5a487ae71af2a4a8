//! `examples/quickstart/build.lua`, whole: an image from packages, booted twice, packaged.

use std::path::Path;

use super::support::library::{skip, tool};
use super::support::place;
use super::support::rimg::Sandbox;
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
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/quickstart");
    let sandbox = Sandbox::new();
    // In CI the README's first command has built it a while ago, with the very program that is tested.
    let made_with_this = || {
        let time = |path: &Path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
        time(&example.join("out/manifest.json")) > time(Path::new(env!("CARGO_BIN_EXE_rimg")))
    };
    let out = if std::env::var_os("CI").is_some() && made_with_this() {
        example.join("out")
    } else {
        for file in ["build.lua", "web.service"] {
            sandbox.write(file, std::fs::read(example.join(file)).unwrap());
        }
        let _place = place::take();
        sandbox.rimg(["run", "build.lua", "-v", "greeting=Built by a test"]).expect_code(0);
        sandbox.join("out")
    };
    let info = tool(&out, "qemu-img", &["info", "--output=json", "quickstart.qcow2"]);
    let info: serde_json::Value = serde_json::from_slice(&info).unwrap();
    assert_eq!(info["format"], "qcow2");
    assert!(info.get("backing-filename").is_none(), "{info}");
    let listed = tool(&out, "tar", &["-tzf", "quickstart.box"]);
    assert!(String::from_utf8_lossy(&listed).contains("metadata.json"));
    let manifest: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(out.join("manifest.json")).unwrap()).unwrap();
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
