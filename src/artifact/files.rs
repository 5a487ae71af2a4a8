//! `rimg.artifact`: existing files as an artifact; and an artifact's end.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use crate::engine::artifact::ArtifactFile;
use crate::engine::options::{Value, decode_short};
use crate::engine::{Artifact, BuildCx};
use crate::error::{Error, Kind, Result, io_error};
use crate::host::blocking;
use crate::host::qemu_img::DiskFormat;

const OF: &str = "rimg.artifact";

/// The options of `rimg.artifact`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FilesOptions {
    /// Paths and globs (`*`, `?`, `[…]`, `{a,b}`, `**`); relative ones start at the script's folder.
    pub files: Vec<String>,
    /// What identifies it; `files` when it is not given.
    pub id: Option<String>,
    /// `image`, `archive`, `vagrant`, …; `image` for a disk image, else `files`, when it is not given.
    pub kind: Option<String>,
    /// The builder later steps shall see; `file` when it is not given.
    pub builder: Option<String>,
    /// What later steps must know, such as `format` of an image.
    pub metadata: BTreeMap<String, serde_json::Value>,
}

impl FilesOptions {
    /// Decodes what a script gives: a table of options, a plain list of files, or one file.
    pub fn from_value(value: Value) -> Result<FilesOptions> {
        decode_short(OF, value, "files")
    }
}

/// Makes an artifact of files that are there; a path or glob that finds nothing is an error.
pub async fn files(options: FilesOptions, cx: &BuildCx) -> Result<Artifact> {
    if options.files.is_empty() {
        return Err(Error::new(Kind::Option, format!("{OF}: option `files`: is required")));
    }
    let (cx, live) = (cx.clone(), cx.settings.is_live());
    blocking::run(move |_| {
        let mut found = Vec::new();
        for pattern in &options.files {
            match expand(pattern, &cx) {
                Ok(paths) => paths.into_iter().for_each(|file: ArtifactFile| {
                    if !found.iter().any(|known: &ArtifactFile| known.path == file.path) {
                        found.push(file);
                    }
                }),
                // An earlier build that was only pretended may be what makes it.
                Err(_) if !live => {
                    found.push(ArtifactFile { path: cx.settings.resolve(pattern), size: 0, digests: Vec::new() });
                }
                Err(error) => return Err(error),
            }
        }
        let mut metadata = options.metadata;
        let extension = found.first().and_then(|file| file.path.extension()?.to_str());
        // `.img` says that it is an image, but not of which format.
        let format = DiskFormat::ALL.map(DiskFormat::as_str).into_iter().find(|name| extension == Some(name));
        let is_image = format.is_some() || extension == Some("img");
        let kind = options.kind.unwrap_or_else(|| if is_image { "image" } else { "files" }.into());
        if let Some(format) = format.filter(|_| kind == "image") {
            metadata.entry("format".into()).or_insert_with(|| format.into());
        }
        Ok(Artifact {
            id: options.id.unwrap_or_else(|| "files".into()),
            kind,
            builder: options.builder.unwrap_or_else(|| "file".into()),
            build: cx.build.to_string(),
            files: found,
            metadata,
        })
    })
    .await
}

fn expand(pattern: &str, cx: &BuildCx) -> Result<Vec<ArtifactFile>> {
    let path = cx.settings.resolve(pattern);
    // A file whose name looks like a glob is still a file.
    if !pattern.contains(['*', '?', '[', '{']) || path.exists() {
        return describe(path).map(|file| vec![file]);
    }
    let matcher = globset::GlobBuilder::new(&path.to_string_lossy())
        .literal_separator(true)
        .build()
        .map_err(|e| Error::new(Kind::Option, format!("{OF}: option `files`: {pattern:?} is no glob")).caused_by(e))?
        .compile_matcher();
    let fixed: PathBuf = path
        .components()
        .take_while(|part| !part.as_os_str().to_string_lossy().contains(['*', '?', '[', '{']))
        .collect();
    let mut matches = Vec::new();
    let mut folders = vec![fixed];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let (path, kind) = (entry.path(), entry.file_type());
            if kind.is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            } else if matcher.is_match(&path) && path.is_file() {
                matches.push(path);
            }
        }
    }
    if matches.is_empty() {
        return Err(Error::new(Kind::Io, format!("{OF}: no file matches {}", path.display())));
    }
    matches.sort();
    matches.into_iter().map(describe).collect()
}

fn describe(path: PathBuf) -> Result<ArtifactFile> {
    let meta = std::fs::metadata(&path).map_err(|e| io_error("read", &path, e).within(OF))?;
    if !meta.is_file() {
        return Err(Error::new(Kind::Io, format!("{OF}: {} is not a file", path.display()))
            .hint("name its files, or give a glob such as \"folder/*\""));
    }
    Ok(ArtifactFile { path, size: meta.len(), digests: Vec::new() })
}

/// Removes the files of an artifact.
pub async fn destroy(artifact: &Artifact, cx: &BuildCx) -> Result<()> {
    if !cx.settings.is_live() {
        return Ok(());
    }
    remove(artifact).await
}

/// Removes the files; those that are gone already are fine.
pub(super) async fn remove(artifact: &Artifact) -> Result<()> {
    let files: Vec<PathBuf> = artifact.files.iter().map(|file| file.path.clone()).collect();
    blocking::run(move |_| {
        for path in &files {
            match std::fs::remove_file(path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(io_error("remove", path, e)),
                _ => {}
            }
        }
        Ok(())
    })
    .await
}
