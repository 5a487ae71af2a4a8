//! Installation media: the tests' own small installer, and Debian's out of its package.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::image::guest;
use super::library::has;

/// Returns the medium of the tests' own installer, which boots in BIOS and EFI, asks to be told at GRUB's command line where
/// its answers are, and installs a small Debian; none where it cannot be made.
pub fn medium() -> Option<PathBuf> {
    static MEDIUM: OnceLock<Option<PathBuf>> = OnceLock::new();
    MEDIUM.get_or_init(make).clone()
}

fn make() -> Option<PathBuf> {
    let programs =
        ["grub-mkrescue", "xorriso", "mformat", "busybox", "cpio", "depmod", "sfdisk", "mkfs.vfat", "resize2fs"];
    if !programs.into_iter().all(has) {
        return None;
    }
    let guest = guest()?;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("installer");
    std::fs::create_dir_all(&folder).unwrap();
    // Another run of the tests may be at it.
    let lock = std::fs::File::create(folder.join("lock")).unwrap();
    lock.lock().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/installer");
    let medium = folder.join("installer.iso");
    let newer = |than: &Path| {
        let time = |path: &Path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
        time(&medium) > time(than)
    };
    let parts = ["make", "init", "grub.cfg"].map(|name| source.join(name));
    if !parts.iter().map(PathBuf::as_path).chain([&*guest]).all(newer) {
        let mut command = Command::new(source.join("make"));
        let made = command.arg(&*guest).arg(&folder).stdin(Stdio::null()).output().unwrap();
        assert!(made.status.success(), "the installer was not made: {}", String::from_utf8_lossy(&made.stderr));
    }
    Some(medium)
}
