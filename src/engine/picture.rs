//! Where pictures go that nobody asked for by name: screens of machines that failed.

use std::path::PathBuf;

use super::cx::BuildCx;

const KEPT: usize = 50;

/// Picks a place for a picture of a machine's screen that an error is going to name, and makes room for it.
pub fn path(cx: &BuildCx) -> PathBuf {
    let dir = cx.settings.state_dir.join("screenshots");
    let mut old: Vec<PathBuf> =
        std::fs::read_dir(&dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    old.sort_by_key(|path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok());
    for path in old.iter().take(old.len().saturating_sub(KEPT - 1)) {
        crate::host::atomic::remove(path);
    }
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let build: String = cx.build.chars().map(plain).collect();
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S%3f");
    dir.join(format!("{build}-{now}.png"))
}
