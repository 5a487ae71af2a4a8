//! Where rimg keeps things: caches that may be thrown away, state that may not.

use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;

use crate::error::{Error, Kind, Result, io_error};

fn base(variable: &str, pick: impl Fn(&etcetera::base_strategy::Xdg) -> PathBuf) -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os(variable).filter(|v| !v.is_empty()) {
        return std::path::absolute(&dir).map_err(|e| io_error("resolve", &dir, e));
    }
    let xdg = etcetera::base_strategy::Xdg::new().map_err(|e| {
        Error::new(Kind::Host, "cannot find the home folder of this user").hint(format!("set {variable}")).caused_by(e)
    })?;
    Ok(pick(&xdg).join("rimg"))
}

/// Returns `RIMG_CACHE_DIR`, else `$XDG_CACHE_HOME/rimg`: downloads, records, checkpoints. Not created.
pub fn cache() -> Result<PathBuf> {
    base("RIMG_CACHE_DIR", |xdg| xdg.cache_dir())
}

/// Returns `RIMG_STATE_DIR`, else `$XDG_STATE_HOME/rimg`: the journal, logs of runs. Not created.
pub fn state() -> Result<PathBuf> {
    base("RIMG_STATE_DIR", |xdg| xdg.state_dir().unwrap_or_else(|| xdg.data_dir()))
}

/// Creates a folder and its parents that only this user can enter (mode 0700), and returns it.
pub fn private(path: &Path) -> Result<&Path> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|e| io_error("create folder", path, e))?;
    let meta = std::fs::metadata(path).map_err(|e| io_error("read", path, e))?;
    if meta.permissions().mode() & 0o077 != 0 {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
            .map_err(|e| io_error("make private", path, e))?;
    }
    Ok(path)
}
