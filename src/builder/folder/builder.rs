//! Makes machines that are folders.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use serde::Deserialize;

use crate::builder::Entry;
use crate::engine::options::OptionTable;
use crate::engine::replay::content;
use crate::engine::testing::folder::{Behaviour, FolderMachine, target};
use crate::engine::{Artifact, BuildCx, Builder, CaptureSpec, Checkpoint, Machine, Value};
use crate::error::{Error, Kind, Result};

/// What a machine starts from.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct FolderOptions {
    /// A folder, or the image of such a machine.
    source: Option<PathBuf>,
    /// Hardware of no effect.
    cpus: Option<u32>,
}

/// The line of the registry.
pub const ENTRY: Entry = Entry {
    name: "folder",
    class: "rimg.FolderOptions",
    fields: || {
        use crate::engine::options::fields;
        static FIELDS: LazyLock<Vec<&'static str>> =
            LazyLock::new(|| [fields::<FolderOptions>(), fields::<Behaviour>()].concat());
        &FIELDS
    },
    boot_options: Some(boot_options),
    destroy_artifact: None,
    copy_artifact: None,
    decode: |value| {
        let mut table = OptionTable::new("rimg.folder", value)?;
        Ok(Arc::new(FolderBuilder { behaviour: table.take()?, options: table.rest()? }))
    },
};

fn boot_options(value: Value, artifact: &Artifact) -> Result<Value> {
    let Value::Map(mut entries) = value else { return Ok(value) };
    entries.retain(|(name, _)| name != "source");
    if let Some(image) = artifact.image_path() {
        entries.push(("source".to_owned(), Value::Str(image.display().to_string())));
    }
    Ok(Value::Map(entries))
}

struct FolderBuilder {
    options: FolderOptions,
    behaviour: Behaviour,
}

#[async_trait]
impl Builder for FolderBuilder {
    fn kind(&self) -> &'static str {
        "folder"
    }

    fn validate(&self, cx: &BuildCx) -> Result<Vec<String>> {
        match self.options.source.as_ref().map(|source| cx.settings.resolve(source)) {
            Some(source) if cx.settings.is_live() && !source.exists() => {
                Err(Error::new(Kind::Io, format!("option `source`: there is no {}", source.display())))
            }
            _ => Ok(Vec::new()),
        }
    }

    fn check_capture(&self, spec: &CaptureSpec, cx: &BuildCx) -> Result<()> {
        target(spec, cx).map(drop)
    }

    async fn identity(&self, cx: &BuildCx) -> Result<Option<serde_json::Value>> {
        let source = match &self.options.source {
            Some(source) => Some(content::tree(cx.settings.resolve(source), cx).await?),
            None => None,
        };
        Ok(Some(serde_json::json!({ "folder": 1, "source": source, "cpus": self.options.cpus })))
    }

    async fn launch(&self, cx: &BuildCx, from: Option<&Checkpoint>) -> Result<Arc<dyn Machine>> {
        let folder = cx.private_dir("folder")?;
        let mut behaviour = self.behaviour.clone();
        behaviour.log = behaviour.log.map(|log| cx.settings.resolve(log));
        let source = self.options.source.as_ref().map(|source| cx.settings.resolve(source));
        Ok(Arc::new(match from {
            Some(checkpoint) => FolderMachine::resume(folder, checkpoint, behaviour)?,
            None => FolderMachine::boot(folder, source.as_deref(), behaviour).await?,
        }))
    }
}
