//! What a build leaves: files or cloud image ids, as plain data.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::operation::{Answer, Operation};

/// The field of an error that says a build need not be done: the artifact that there is already.
pub const INSTEAD: &str = "instead";

/// A digest of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// `sha256`, `md5`, `blake3`, …
    pub algorithm: String,
    /// Lower-case hexadecimal.
    pub hex: String,
}

/// One file of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactFile {
    /// Absolute.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub digests: Vec<Digest>,
}

/// A finished thing. Post-processing makes new artifacts from it and never changes the files it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// What identifies it: Packer's artifact id where it has one (`VM` for local images, `eu-west-1:ami-…`).
    pub id: String,
    /// `image`, `archive`, `vagrant`, `checksum`, `manifest`, `files`.
    pub kind: String,
    /// The builder or post-processor that made it: `qemu`, `compress`, `vagrant`.
    pub builder: String,
    /// The build it belongs to.
    pub build: String,
    pub files: Vec<ArtifactFile>,
    /// What later steps must know: `format` of an image, `virtual_size`, `architecture`, `memory`, `cpus`, …
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, serde_json::Value>,
}

impl Answer for Artifact {
    fn done(operation: &Operation) -> Self {
        let asked = operation.request.get("options").and_then(|options| options.get("output_directory"));
        let directory = asked.and_then(|v| v.as_str()).unwrap_or("output");
        Artifact {
            id: "VM".into(),
            kind: "image".into(),
            builder: "pretended".into(),
            build: String::new(),
            files: vec![ArtifactFile { path: Path::new(directory).join("image"), size: 0, digests: Vec::new() }],
            metadata: Default::default(),
        }
    }

    fn outputs(&self, _: &Operation) -> Vec<PathBuf> {
        self.files.iter().map(|file| file.path.clone()).collect()
    }

    fn moved(self, from: &Path, to: &Path) -> Self {
        self.moved_to(from, to)
    }
}

impl Artifact {
    /// Returns the same with the files below one folder in another.
    #[must_use]
    pub fn moved_to(mut self, from: &Path, to: &Path) -> Artifact {
        for file in &mut self.files {
            if let Ok(inside) = file.path.strip_prefix(from) {
                file.path = to.join(inside);
            }
        }
        self
    }

    /// Returns the disk image among the files: the only file of an image, or the first.
    pub fn image_path(&self) -> Option<&std::path::Path> {
        self.files.first().map(|file| file.path.as_path())
    }

    /// Returns the event that announces it.
    pub fn event(&self) -> crate::ui::Event {
        crate::ui::Event::Artifact {
            build: self.build.clone(),
            id: self.id.clone(),
            kind: self.kind.clone(),
            builder: self.builder.clone(),
            files: self
                .files
                .iter()
                .map(|file| crate::ui::event::ArtifactFile {
                    path: file.path.display().to_string(),
                    size: file.size,
                    digests: file.digests.iter().map(|d| (d.algorithm.clone(), d.hex.clone())).collect(),
                })
                .collect(),
        }
    }
}
