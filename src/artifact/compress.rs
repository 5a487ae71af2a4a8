//! `artifact:compress`: an archive of the artifact's files, or its one file compressed.

use std::path::PathBuf;

use serde::Deserialize;

use super::archive::{Content, Entry, Format, Work, pack};
use super::name;
use super::output::Output;
use crate::engine::artifact::ArtifactFile;
use crate::engine::options::{Value, decode_short};
use crate::engine::{Artifact, BuildCx};
use crate::error::{Error, Kind, Result};
use crate::host::blocking;
use crate::ui::event::Unit;

const OF: &str = "artifact:compress";

/// The options of `artifact:compress`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CompressOptions {
    /// The file to write; may hold `{{.BuildName}}` and `{{.BuilderType}}`. Beside the artifact when it is not given.
    pub output: Option<String>,
    /// `tar.gz`, `tar.zst`, `tar.xz`, `tar.bz2`, `tar.lz4`, `tar`, `zip`, or for one file `gz`, `zst`, `xz`, `bz2`, `lz4`,
    /// `bgzf`; by the output's extension when it is not given, else `tar.gz`.
    pub format: Option<String>,
    /// 0 (store) to 9 for gzip, BGZF and zip, 1 to 22 for zstd, 0 to 9 for xz, 1 to 9 for bzip2, only 1 for lz4; 6, 3, 6,
    /// 9 and 1 when it is not given.
    pub compression_level: Option<i32>,
    /// Whether the artifact's own files stay; true unless said otherwise.
    pub keep_input_artifact: Option<bool>,
}

impl CompressOptions {
    /// Decodes what a script gives: a table of options, or only the output.
    pub fn from_value(value: Value) -> Result<CompressOptions> {
        decode_short(OF, value, "output")
    }
}

/// Compresses the files of an artifact into one, on all cores; gives back an artifact of that one file with its
/// SHA-256.
pub async fn compress(artifact: &Artifact, options: CompressOptions, cx: &BuildCx) -> Result<Artifact> {
    let format = match (&options.format, &options.output) {
        (Some(format), _) => Format::parse(format).map_err(|e| e.within(format!("{OF}: option `format`")))?,
        (None, Some(output)) => Format::of_name(output).ok_or_else(|| {
            Error::new(Kind::Option, format!("{OF}: option `output`: cannot tell the format of {output:?}"))
                .hint("end it in .tar.gz, .tar.zst, .tar.xz, .zip, .gz, .zst, .xz or another format's name, or give a `format`")
        })?,
        (None, None) => Format::TarGz,
    };
    let level = level(OF, format, options.compression_level)?;
    if artifact.files.is_empty() {
        return Err(Error::new(Kind::Unsupported, format!("{OF}: the artifact {} has no files", artifact.id)));
    }
    if format.is_single() && artifact.files.len() > 1 {
        let (found, name) = (artifact.files.len(), format.extension());
        return Err(Error::new(Kind::Option, format!("{OF}: {name} holds one file, and the artifact has {found}"))
            .hint(format!("use tar.{}", if format == Format::Bgzf { "gz" } else { name })));
    }
    let target = match &options.output {
        Some(output) => name::output(OF, output, artifact, &[], cx)?,
        None => name::beside(artifact, format.extension(), cx),
    };
    if artifact.files.iter().any(|file| file.path == target) {
        let message = format!("{OF}: option `output`: {} is the artifact's own file", target.display());
        return Err(Error::new(Kind::Option, message));
    }
    let mut result = name::derive(artifact, "archive", "compress");
    result.files = vec![ArtifactFile { path: target.clone(), size: 0, digests: Vec::new() }];
    if !cx.settings.is_live() {
        return Ok(result);
    }
    result.files = vec![write(entries(artifact), format, level, target, cx).await?];
    if options.keep_input_artifact == Some(false) {
        super::files::remove(artifact).await?;
    }
    Ok(result)
}

/// Checks a level against the format's range and returns it, or the format's own.
pub fn level(of: &str, format: Format, asked: Option<i32>) -> Result<i32> {
    let (range, usual) = format.levels();
    match asked {
        None => Ok(usual),
        Some(level) if range.contains(&level) => Ok(level),
        Some(level) => {
            let (from, to, name) = (range.start(), range.end(), format.extension());
            let known = if from == to { format!("only level {from}") } else { format!("levels {from} to {to}") };
            let message = format!("{of}: option `compression_level`: {name} has {known}, found {level}");
            Err(Error::new(Kind::Option, message))
        }
    }
}

/// Packs `entries` on the blocking pool, with progress, and returns the file that came to be.
pub async fn write(
    entries: Vec<Entry>,
    format: Format,
    level: i32,
    target: PathBuf,
    cx: &BuildCx,
) -> Result<ArtifactFile> {
    let cx = cx.clone();
    blocking::run(move |cancel| {
        let sizes = entries.iter().map(Entry::size).collect::<Result<Vec<u64>>>()?;
        let shown = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let progress = cx.ui.progress(format!("Writing {shown}"), Some(sizes.iter().sum()), Unit::Bytes);
        let output = Output::open(&target, &cx)?;
        pack(&entries, format, level, output, &Work { cancel, counter: &progress.counter() })
    })
    .await
}

/// Returns the artifact's files with their names in an archive: as they lie below the folder they have in common.
fn entries(artifact: &Artifact) -> Vec<Entry> {
    let folders = || artifact.files.iter().filter_map(|file| file.path.parent());
    let common = folders().fold(None::<PathBuf>, |common, folder| match common {
        None => Some(folder.to_owned()),
        Some(common) => common.ancestors().find(|ancestor| folder.starts_with(ancestor)).map(PathBuf::from),
    });
    let common = common.unwrap_or_default();
    artifact
        .files
        .iter()
        .map(|file| Entry {
            name: file.path.strip_prefix(&common).unwrap_or(&file.path).to_string_lossy().into_owned(),
            content: Content::File(file.path.clone()),
        })
        .collect()
}
