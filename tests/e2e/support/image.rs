//! The guest systems of the tests: small Debians, made by rimg itself once and kept in the target folder.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::library::has;
use super::place::{self, Place};
use super::rimg::Run;

/// The path of a guest's image, and the place that its test has while it works with it.
pub struct Guest {
    path: PathBuf,
    _place: Place,
}

impl Deref for Guest {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

/// Logs in as vagrant by password, may sudo, and says what it does on the serial console.
const SCRIPT: &str = r#"local rimg = require "rimg"
local image = require("std.debian").bootstrap {
  hostname = "guest", kernel_parameters = "quiet",
  users = { { name = "vagrant", password = "vagrant", sudo = true } },
  max_age = 30 * 24 * 3600,
}
rimg.fs.write("path", image.path)
"#;

/// The same with the packages of `std.harden`'s strictest profile, and with Lynis: to install them in an emulated guest takes
/// minutes.
const HARDENING_SCRIPT: &str = r#"local rimg = require "rimg"
local image = require("std.debian").bootstrap {
  hostname = "guest", kernel_parameters = "quiet",
  users = { { name = "vagrant", password = "vagrant", sudo = true } },
  packages = {
    "acct", "aide", "aide-common", "apparmor", "apparmor-utils", "apt-listchanges", "auditd", "debsums",
    "libpam-pwquality", "libpam-tmpdir", "lynis", "needrestart", "nftables", "sysstat", "systemd-timesyncd", "unattended-upgrades",
  },
  max_age = 30 * 24 * 3600,
}
rimg.fs.write("path", image.path)
"#;

/// Lets nobody in until cloud-init has read a seed.
const CLOUD_SCRIPT: &str = r#"local rimg = require "rimg"
local image = require("std.debian").bootstrap {
  hostname = "cloud", kernel_parameters = "quiet", packages = { "cloud-init" }, max_age = 30 * 24 * 3600,
}
rimg.fs.write("path", image.path)
"#;

/// Returns the image, to be used as `source_image` and never written to; none where it cannot be made or booted.
pub fn guest() -> Option<Guest> {
    static IMAGE: OnceLock<Option<PathBuf>> = OnceLock::new();
    image(&IMAGE, "guest", SCRIPT)
}

/// Returns an image like it with the packages that hardening takes.
pub fn hardening_guest() -> Option<Guest> {
    static IMAGE: OnceLock<Option<PathBuf>> = OnceLock::new();
    image(&IMAGE, "hardening-guest", HARDENING_SCRIPT)
}

/// Returns an image like it that has cloud-init and no users.
pub fn cloud_guest() -> Option<Guest> {
    static IMAGE: OnceLock<Option<PathBuf>> = OnceLock::new();
    image(&IMAGE, "cloud-guest", CLOUD_SCRIPT)
}

fn image(made: &OnceLock<Option<PathBuf>>, name: &str, script: &str) -> Option<Guest> {
    let place = place::take();
    let path = made.get_or_init(|| make(name, script)).clone()?;
    Some(Guest { path, _place: place })
}

fn make(name: &str, script: &str) -> Option<PathBuf> {
    if !["mmdebstrap", "qemu-system-x86_64", "qemu-img"].into_iter().all(has) {
        return None;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    // Another run of the tests may be at it.
    let lock = std::fs::File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    std::fs::write(folder.join("build.lua"), script).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rimg"));
    command.args(["run", "build.lua"]).current_dir(&folder).stdin(Stdio::null());
    command.env("RIMG_CACHE_DIR", folder.join("cache")).env("RIMG_STATE_DIR", folder.join("state"));
    Run::of(&mut command).expect_code(0);
    Some(PathBuf::from(std::fs::read_to_string(folder.join("path")).unwrap()))
}
