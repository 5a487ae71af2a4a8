//! `artifact:convert`: the artifact's disk image in another format.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::name;
use super::output::Draft;
use crate::engine::artifact::ArtifactFile;
use crate::engine::options::{Value, decode_short};
use crate::engine::{Artifact, BuildCx};
use crate::error::{Error, Kind, Result, io_error};
use crate::host::atomic::refuse_existing;
use crate::host::qemu_img::{self, Conversion, DiskFormat};
use crate::ui::event::Unit;

const OF: &str = "artifact:convert";

/// The options of `artifact:convert`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConvertOptions {
    /// `qcow2`, `raw`, `vmdk`, `vdi` or `vhdx`; by the output's extension when it is not given.
    pub format: Option<String>,
    /// The file to write; may hold `{{.BuildName}}` and `{{.BuilderType}}`. Beside the image, with the format as its
    /// extension, when it is not given.
    pub output: Option<String>,
    /// Whether clusters are compressed (qcow2 and vmdk); false unless said otherwise.
    pub compress: Option<bool>,
    /// Whether areas of zeroes take no space; true unless said otherwise.
    pub compact: Option<bool>,
    /// Options of the format as `qemu-img -o` takes them, such as `subformat=streamOptimized`.
    pub options: Vec<String>,
    /// Whether the artifact's own files stay; true unless said otherwise.
    pub keep_input_artifact: Option<bool>,
}

impl ConvertOptions {
    /// Decodes what a script gives: a table of options, or only the format.
    pub fn from_value(value: Value) -> Result<ConvertOptions> {
        decode_short(OF, value, "format")
    }
}

/// Converts the disk image of an artifact; gives back an artifact of the new image.
pub async fn convert(artifact: &Artifact, options: ConvertOptions, cx: &BuildCx) -> Result<Artifact> {
    let source = image(OF, artifact)?;
    let target = options.output.as_deref().map(|output| name::output(OF, output, artifact, &[], cx)).transpose()?;
    let by_extension = || target.as_ref().and_then(|target| target.extension()?.to_str());
    let format = match options.format.as_deref().or_else(by_extension) {
        Some(format) => DiskFormat::parse(format).map_err(|e| e.within(format!("{OF}: option `format`")))?,
        None => return Err(Error::new(Kind::Option, format!("{OF}: option `format`: is required"))),
    };
    let compress = options.compress.unwrap_or(false);
    if compress && !format.compresses() {
        let message = format!("{OF}: option `compress`: {} images cannot be compressed", format.as_str());
        return Err(Error::new(Kind::Option, message).hint("use qcow2 or vmdk, or artifact:compress on the result"));
    }
    let target = target.unwrap_or_else(|| source.with_extension(format.as_str()));
    if target == source {
        let message = format!("{OF}: option `output`: {} is the image itself", target.display());
        return Err(Error::new(Kind::Option, message).hint("give an `output` with another name"));
    }
    let mut result = name::derive(artifact, "image", "convert");
    result.metadata.insert("format".into(), format.as_str().into());
    result.files = vec![ArtifactFile { path: target.clone(), size: 0, digests: Vec::new() }];
    if !cx.settings.is_live() {
        return Ok(result);
    }
    refuse_existing(&target, cx.settings.force)?;
    let draft = Draft::of(&target, cx)?;
    let request = Request { compress, compact: options.compact.unwrap_or(true), options: &options.options };
    write(artifact, source, &draft, format, &request, cx).await?;
    let path = crate::host::blocking::run(move |_| draft.commit()).await?;
    result.files = vec![describe(path)?];
    if options.keep_input_artifact == Some(false) {
        super::files::remove(artifact).await?;
    }
    Ok(result)
}

/// How an image is to be written.
pub(super) struct Request<'a> {
    pub compress: bool,
    pub compact: bool,
    pub options: &'a [String],
}

/// Writes the image to the draft, with progress.
pub(super) async fn write(
    artifact: &Artifact,
    source: &Path,
    draft: &Draft,
    format: DiskFormat,
    request: &Request<'_>,
    cx: &BuildCx,
) -> Result<()> {
    let shown = source.file_name().unwrap_or_default().to_string_lossy();
    let progress = cx.ui.progress(format!("Converting {shown} to {}", format.as_str()), Some(100), Unit::Percent);
    let conversion = Conversion {
        more: &[],
        source,
        source_format: source_format(artifact),
        target: draft.path(),
        format,
        compress: request.compress,
        compact: request.compact,
        options: request.options,
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a percentage")]
    qemu_img::convert(&conversion, |percent| progress.set(percent as u64)).await
}

/// Returns the format that the artifact's builder says the image has.
pub(super) fn source_format(artifact: &Artifact) -> Option<&str> {
    artifact.metadata.get("format").and_then(|format| format.as_str())
}

/// Returns the artifact's disk image.
pub(super) fn image<'a>(of: &str, artifact: &'a Artifact) -> Result<&'a Path> {
    artifact.image_path().filter(|_| artifact.kind == "image").ok_or_else(|| {
        Error::new(
            Kind::Unsupported,
            format!("{of}: needs a disk image, and this artifact is of kind {:?}", artifact.kind),
        )
        .hint("call it on what vm:finish() or rimg.artifact{ files = …, kind = \"image\" } gives back")
    })
}

fn describe(path: PathBuf) -> Result<ArtifactFile> {
    let meta = std::fs::metadata(&path).map_err(|e| io_error("read", &path, e))?;
    Ok(ArtifactFile { path, size: meta.len(), digests: Vec::new() })
}
