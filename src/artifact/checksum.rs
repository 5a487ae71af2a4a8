//! `artifact:checksum`: digests of the artifact's files, in files that `sha256sum -c` and its kin take.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::name;
use super::output::{Output, stream_error};
use crate::engine::artifact::ArtifactFile;
use crate::engine::options::{Value, decode_short};
use crate::engine::{Artifact, BuildCx, Digest};
use crate::error::{Error, Kind, Result, io_error};
use crate::host::blocking;
use crate::host::digest::{self, Algorithm};
use crate::ui::event::Unit;

const OF: &str = "artifact:checksum";

/// The options of `artifact:checksum`; a plain list is its `types`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChecksumOptions {
    /// `md5`, `sha1`, `sha224`, `sha256`, `sha384`, `sha512`, `blake3`; several are computed in one read. `sha256` when
    /// it is not given (Packer: `checksum_types`, md5).
    pub types: Vec<String>,
    /// The file to write; may hold `{{.BuildName}}`, `{{.BuilderType}}` and `{{.ChecksumType}}`, as in Packer's
    /// `packer_{{.BuildName}}_{{.BuilderType}}_{{.ChecksumType}}.checksum`. `FILE.sha256` beside the file when it is not
    /// given.
    pub output: Option<String>,
}

impl ChecksumOptions {
    /// Decodes what a script gives: `{ "sha256", "md5" }`, `{ types = …, output = … }` or only a name.
    pub fn from_value(value: Value) -> Result<ChecksumOptions> {
        decode_short(OF, value, "types")
    }
}

/// Computes digests of an artifact's files and writes them to checksum files; gives back the artifact with the digests
/// noted at its files and the checksum files added.
pub async fn checksum(artifact: &Artifact, options: ChecksumOptions, cx: &BuildCx) -> Result<Artifact> {
    let algorithms = algorithms(&options.types)?;
    if artifact.files.is_empty() {
        return Err(Error::new(Kind::Unsupported, format!("{OF}: the artifact {} has no files", artifact.id)));
    }
    let mut outputs: BTreeMap<PathBuf, Vec<Algorithm>> = BTreeMap::new();
    for algorithm in &algorithms {
        let path = match &options.output {
            Some(output) => name::output(OF, output, artifact, &[("ChecksumType", algorithm.as_str())], cx)?,
            None => name::beside(artifact, algorithm.as_str(), cx),
        };
        outputs.entry(path).or_default().push(*algorithm);
    }
    let mut result = artifact.clone();
    if !cx.settings.is_live() {
        let pretended = outputs.into_keys().map(|path| ArtifactFile { path, size: 0, digests: Vec::new() });
        result.files.extend(pretended);
        return Ok(result);
    }
    let context = cx.clone();
    blocking::run(move |cancel| {
        let total = result.files.iter().map(|file| size(&file.path)).sum::<Result<u64>>()?;
        let names: Vec<&str> = algorithms.iter().map(|a| a.as_str()).collect();
        let progress = context.ui.progress(format!("Computing {}", names.join(", ")), Some(total), Unit::Bytes);
        for file in &mut result.files {
            let digests = digest::of_file(&file.path, &algorithms, cancel, &|n| progress.add(n))?;
            for (algorithm, hex) in algorithms.iter().zip(digests) {
                file.digests.retain(|digest| digest.algorithm != algorithm.as_str());
                file.digests.push(Digest { algorithm: algorithm.to_string(), hex });
            }
        }
        for (path, algorithms) in outputs {
            let text = render(&result.files, &algorithms, path.parent().unwrap_or(Path::new("/")));
            let mut output = Output::open(&path, &context)?;
            output.write_all(&text).map_err(|e| stream_error("write", &path, e))?;
            result.files.push(ArtifactFile { digests: Vec::new(), ..output.finish()? });
        }
        Ok(result)
    })
    .await
}

fn size(path: &Path) -> Result<u64> {
    std::fs::metadata(path).map(|meta| meta.len()).map_err(|e| io_error("read", path, e))
}

fn algorithms(types: &[String]) -> Result<Vec<Algorithm>> {
    let mut algorithms = Vec::new();
    for name in types {
        let algorithm = Algorithm::parse(name).ok_or_else(|| {
            let names = Algorithm::ALL.map(Algorithm::as_str);
            let message = format!("{OF}: option `types`: {name:?} is not one of {}", names.join(", "));
            let error = Error::new(Kind::Option, message);
            match crate::engine::options::did_you_mean(name, &names) {
                Some(hint) => error.hint(hint),
                None => error,
            }
        })?;
        if !algorithms.contains(&algorithm) {
            algorithms.push(algorithm);
        }
    }
    if algorithms.is_empty() {
        algorithms.push(Algorithm::Sha256);
    }
    Ok(algorithms)
}

/// Returns the lines of a checksum file in `folder`: GNU's form, or BSD's tagged one where algorithms share the file.
fn render(files: &[ArtifactFile], algorithms: &[Algorithm], folder: &Path) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    let mut text = Vec::new();
    for algorithm in algorithms {
        for file in files {
            let Some(digest) = file.digests.iter().find(|d| d.algorithm == algorithm.as_str()) else { continue };
            let path = name::relative(&file.path, folder);
            let mut escaped = Vec::new();
            for byte in path.as_os_str().as_bytes() {
                match byte {
                    b'\n' => escaped.extend_from_slice(b"\\n"),
                    b'\r' => escaped.extend_from_slice(b"\\r"),
                    b'\\' => escaped.extend_from_slice(b"\\\\"),
                    byte => escaped.push(*byte),
                }
            }
            // A leading backslash says that the name is escaped.
            if escaped != path.as_os_str().as_bytes() {
                text.push(b'\\');
            }
            let hex = &digest.hex;
            if algorithms.len() == 1 {
                text.extend_from_slice(format!("{hex}  ").as_bytes());
                text.extend_from_slice(&escaped);
            } else {
                text.extend_from_slice(format!("{} (", algorithm.as_str().to_uppercase()).as_bytes());
                text.extend_from_slice(&escaped);
                text.extend_from_slice(format!(") = {hex}").as_bytes());
            }
            text.push(b'\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_a_list_a_table_and_both() {
        let list = Value::List(vec![Value::Str("sha256".into()), Value::Str("md5".into())]);
        assert_eq!(ChecksumOptions::from_value(list.clone()).unwrap().types, ["sha256", "md5"]);
        let both = Value::Map(vec![("1".into(), Value::Str("md5".into())), ("output".into(), Value::Str("x".into()))]);
        let options = ChecksumOptions::from_value(both).unwrap();
        assert_eq!((options.types.as_slice(), options.output.as_deref()), (&["md5".to_owned()][..], Some("x")));
        let table = Value::Map(vec![("types".into(), list)]);
        assert_eq!(ChecksumOptions::from_value(table).unwrap().types.len(), 2);
        let error = algorithms(&["sha265".into()]).unwrap_err();
        assert_eq!(error.hints(), ["did you mean `sha256`?"]);
    }
}
