//! `vm:screenshot`: a picture of the machine's screen.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::console;
use serde::{Deserialize, Serialize};

use crate::engine::{Answer, Operation, Session};
use crate::error::{Error, Kind, Result, io_error};

/// That there is a picture now.
#[derive(Serialize, Deserialize)]
struct Picture;

impl Answer for Picture {
    fn done(_: &Operation) -> Self {
        Picture
    }

    fn outputs(&self, operation: &Operation) -> Vec<PathBuf> {
        operation.local.clone()
    }
}

/// Writes a PNG picture of the screen to `path`, whole or not at all, and returns the full path.
pub async fn screenshot(session: &Arc<Session>, path: &Path) -> Result<PathBuf> {
    if path.as_os_str().is_empty() {
        return Err(Error::new(Kind::Option, "vm:screenshot: the path is empty"));
    }
    let target = session.cx().settings.resolve(path);
    let operation = Operation::new("screenshot", path.display().to_string(), serde_json::json!({}));
    let operation = operation.only_reads().to_host(vec![target.clone()]);
    let to = target.clone();
    let Picture = session
        .perform(operation, move |session| {
            let to = to.clone();
            async move {
                let machine = session.live()?;
                let console = console::of(&*machine)?;
                if let Some(folder) = to.parent() {
                    tokio::fs::create_dir_all(folder).await.map_err(|e| io_error("create folder", folder, e))?;
                }
                console.screenshot(&to).await.map(|()| Picture)
            }
        })
        .await?;
    Ok(target)
}
