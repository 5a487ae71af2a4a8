//! `vm:screenshot`: a picture of the machine's screen.

use std::path::{Path, PathBuf};

use crate::engine::{Operation, Session};
use crate::error::{Error, Kind, Result, io_error};

/// Writes a PNG picture of the screen to `path`, whole or not at all, and returns the full path.
pub async fn screenshot(session: &Session, path: &Path) -> Result<PathBuf> {
    if path.as_os_str().is_empty() {
        return Err(Error::new(Kind::Option, "vm:screenshot: the path is empty"));
    }
    let target = session.cx().settings.resolve(path);
    let operation = Operation::new("screenshot", path.display().to_string(), serde_json::json!({ "path": path }));
    session
        .perform(operation, || async {
            let console = session.console()?;
            if let Some(folder) = target.parent() {
                tokio::fs::create_dir_all(folder).await.map_err(|e| io_error("create folder", folder, e))?;
            }
            console.screenshot(&target).await
        })
        .await?;
    Ok(target)
}
