//! Answers of installers: written by the library, judged by the formats' own validators.

use std::path::{Path, PathBuf};

use super::run;
use crate::support::library::{has, skip};
use crate::support::rimg::Sandbox;

/// Finds a program that `tests/setup/tools` takes from Python's package index.
fn from_pypi(folder: &str, name: &str) -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools").join(folder).join("bin").join(name);
    let found = if own.exists() { Some(own) } else { rimg::host::process::which(name) };
    if found.is_none() {
        skip(&format!("{name} is not installed (tests/setup/tools does)"));
    }
    found
}

#[test]
fn answers_pass_the_validators_of_their_formats() {
    if !["debconf-set-selections", "openssl", "xmllint"].into_iter().all(has) {
        return;
    }
    let Some(ksvalidator) = from_pypi("pykickstart", "ksvalidator") else { return };
    let sandbox = Sandbox::new();
    sandbox.write("ksvalidator", ksvalidator.display().to_string());
    run(&sandbox, "installer.lua");
}

#[test]
fn seeds_of_cloud_init() {
    run(&Sandbox::new(), "cloudinit.lua");
}

/// What the answers put into a machine's options is looked at as if it were to be started.
#[test]
fn machines_take_the_answers() {
    let sandbox = Sandbox::new();
    sandbox.write("medium.iso", "");
    let source = r#"local rimg = require "rimg"
local installer = require "std.installer"
for _, release in ipairs { "debian-12", "ubuntu-24.04", "rhel-8", "rocky-10", "alpine-3.20", "opensuse-leap-15.6" } do
  for _, firmware in ipairs { "bios", "efi" } do
    local answers = installer.answers {
      release = release, firmware = firmware, root = { ssh_authorized_keys = { "{{ .SSHPublicKey }}" } },
    }
    rimg.build(release .. "-" .. firmware, function()
      rimg.qemu(answers:machine { iso_url = "medium.iso", iso_checksum = "none", ssh_username = "root" })
    end)
  end
end
"#;
    sandbox.write("build.lua", source);
    sandbox.rimg(["check", "build.lua"]).expect_code(0);
    // What is wrong is said at the script's own line, before any machine.
    let wrong = source.replace("firmware = firmware,", "firmware = firmware, disk = { size = \"100M\", lvm = true },");
    sandbox.write("build.lua", wrong);
    let run = sandbox.rimg(["check", "build.lua"]);
    assert_ne!(run.code, Some(0));
    run.expect_errors(&["the disk has 100 MiB", "build.lua:5"]);
}
