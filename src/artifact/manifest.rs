//! `artifact:manifest`: Packer's manifest file, field for field.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use super::name;
use crate::engine::artifact::ArtifactFile;
use crate::engine::options::{Value, decode_short};
use crate::engine::{Artifact, BuildCx};
use crate::error::{Error, Kind, Result, io_error};
use crate::host::{atomic, blocking};

const OF: &str = "artifact:manifest";

/// The options of `artifact:manifest`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ManifestOptions {
    /// The file to write or add to; may hold `{{.BuildName}}` and `{{.BuilderType}}`. `packer-manifest.json` in the
    /// script's folder when it is not given.
    pub output: Option<String>,
    /// Whether files are named without their folders; false unless said otherwise.
    pub strip_path: Option<bool>,
    /// Whether `build_time` is left out; false unless said otherwise.
    pub strip_time: Option<bool>,
    /// Text to note with the build, under names of yours.
    pub custom_data: BTreeMap<String, serde_json::Value>,
}

impl ManifestOptions {
    /// Decodes what a script gives: a table of options, or only the output.
    pub fn from_value(value: Value) -> Result<ManifestOptions> {
        decode_short(OF, value, "output")
    }
}

/// The whole file. What other tools (or later Packers) put into their builds stays as it is.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Manifest {
    builds: Vec<serde_json::Value>,
    last_run_uuid: String,
}

/// One build, in the order of fields that Packer writes.
#[derive(Debug, Serialize)]
struct Build {
    name: String,
    builder_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    build_time: Option<i64>,
    files: Option<Vec<BuildFile>>,
    artifact_id: String,
    packer_run_uuid: String,
    custom_data: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Serialize)]
struct BuildFile {
    name: String,
    size: u64,
}

/// Returns what tells this run from others in manifests.
pub fn run_uuid() -> &'static str {
    static RUN: OnceLock<String> = OnceLock::new();
    RUN.get_or_init(|| uuid::Uuid::new_v4().to_string())
}

/// Adds an artifact to a manifest file; with `--force`, what earlier runs wrote there goes. Gives the artifact back as
/// it is.
pub async fn manifest(artifact: &Artifact, options: ManifestOptions, cx: &BuildCx) -> Result<Artifact> {
    let path = place(artifact, &options, cx)?;
    let build = describe(artifact, &options, cx)?;
    if !cx.settings.is_live() {
        return Ok(artifact.clone());
    }
    let force = cx.settings.force;
    let mut written = name::derive(artifact, "manifest", "manifest");
    written.files = vec![blocking::run(move |_| append(&path, &build, force)).await?];
    cx.ui.emit(written.event());
    Ok(artifact.clone())
}

/// Returns where the manifest of an artifact is.
pub fn place(artifact: &Artifact, options: &ManifestOptions, cx: &BuildCx) -> Result<PathBuf> {
    let output = options.output.as_deref().unwrap_or("packer-manifest.json");
    name::output(OF, output, artifact, &[], cx)
}

fn describe(artifact: &Artifact, options: &ManifestOptions, cx: &BuildCx) -> Result<Build> {
    let strip = options.strip_path.unwrap_or(false);
    let shown = |path: &Path| match path.file_name() {
        Some(name) if strip => name.to_string_lossy().into_owned(),
        // As a script says it; elsewhere, in full.
        _ => path.strip_prefix(&cx.settings.script_dir).unwrap_or(path).to_string_lossy().into_owned(),
    };
    let files: Vec<BuildFile> =
        artifact.files.iter().map(|file| BuildFile { name: shown(&file.path), size: file.size }).collect();
    let mut custom = BTreeMap::new();
    for (name, value) in &options.custom_data {
        let text = match value {
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Number(number) => number.to_string(),
            serde_json::Value::Bool(value) => value.to_string(),
            _ => {
                let message = format!("{OF}: option `custom_data.{name}`: expected text, a number or a boolean");
                return Err(Error::new(Kind::Option, message));
            }
        };
        custom.insert(name.clone(), cx.ui.secrets().mask(&text));
    }
    Ok(Build {
        name: if artifact.build.is_empty() { cx.build.to_string() } else { artifact.build.clone() },
        builder_type: name::builder_type(artifact),
        build_time: (!options.strip_time.unwrap_or(false)).then(|| jiff::Timestamp::now().as_second()),
        files: (!files.is_empty()).then_some(files),
        artifact_id: artifact.id.clone(),
        packer_run_uuid: run_uuid().to_owned(),
        custom_data: (!custom.is_empty()).then_some(custom),
    })
}

fn append(path: &Path, build: &Build, force: bool) -> Result<ArtifactFile> {
    let folder = path.parent().map_or_else(|| PathBuf::from("/"), Path::to_owned);
    std::fs::create_dir_all(&folder).map_err(|e| io_error("create folder", &folder, e))?;
    // Builds, and runs, that finish together take turns. The folder is locked because the file is replaced.
    let lock = File::open(&folder).map_err(|e| io_error("open", &folder, e))?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).map_err(|e| io_error("lock", &folder, e.into()))?;
    let mut manifest = match std::fs::read(path) {
        Ok(text) => match serde_json::from_slice::<Manifest>(&text) {
            Ok(manifest) => manifest,
            Err(_) if force => Manifest::default(),
            Err(e) => {
                let message = format!("{} exists already, and is not a manifest", path.display());
                return Err(Error::new(Kind::Exists, message)
                    .hint("choose another `output`, remove it, or run with --force to replace it")
                    .caused_by(e));
            }
        },
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Manifest::default(),
        Err(e) => return Err(io_error("read", path, e)),
    };
    if force && manifest.last_run_uuid != build.packer_run_uuid {
        manifest.builds.clear();
    }
    let failed = |e| Error::new(Kind::Internal, "cannot write a manifest as JSON").caused_by(e);
    manifest.builds.push(serde_json::to_value(build).map_err(failed)?);
    manifest.last_run_uuid.clone_from(&build.packer_run_uuid);
    let text = serde_json::to_vec_pretty(&manifest).map_err(failed)?;
    atomic::write(path, &text)?;
    Ok(ArtifactFile { path: path.to_owned(), size: text.len() as u64, digests: Vec::new() })
}
