//! Which version of QEMU a program is, asked once for as long as the program is the same.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::engine::BuildCx;
use crate::error::{Result, io_error};
use crate::host::process;

#[derive(Serialize, Deserialize)]
struct Known {
    stamp: String,
    version: String,
}

/// Returns the first line of what the program says of itself.
pub async fn of(binary: &Path, cx: &BuildCx) -> Result<String> {
    let meta = std::fs::metadata(binary).map_err(|e| io_error("read", binary, e))?;
    let stamp = format!("{} {} {}.{:09}", meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec());
    let file = cx.settings.state_dir.join("qemu-versions.json");
    let name = binary.display().to_string();
    // A file that cannot be read or understood is as good as none.
    let known = std::fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let mut known: BTreeMap<String, Known> = known.unwrap_or_default();
    if let Some(known) = known.get(&name).filter(|known| known.stamp == stamp) {
        return Ok(known.version.clone());
    }
    let output = process::run(binary, ["--version"]).await?;
    let version = String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().trim().to_owned();
    known.insert(name, Known { stamp, version: version.clone() });
    let text = serde_json::to_vec_pretty(&known).unwrap_or_default();
    crate::host::dirs::private(&cx.settings.state_dir)?;
    if let Err(error) = crate::host::atomic::write(&file, &text) {
        tracing::warn!(%error, "cannot remember the version of a QEMU");
    }
    Ok(version)
}
