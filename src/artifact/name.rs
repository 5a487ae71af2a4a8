//! Names of outputs, with Packer's `{{.BuildName}}` in them.

use std::path::{Path, PathBuf};

use crate::engine::options::did_you_mean;
use crate::engine::{Artifact, BuildCx};
use crate::error::{Error, Kind, Result};

/// Replaces each `{{ .Name }}` (the spaces do not matter) by its value; `of` is whose option it is, for the error.
pub fn expand(of: &str, template: &str, values: &[(&str, &str)]) -> Result<String> {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        let Some((inside, tail)) = after.split_once("}}") else {
            return Err(Error::new(Kind::Option, format!("{of}: `{{{{` without `}}}}` in {template:?}")));
        };
        let name = inside.trim().trim_start_matches('.');
        match values.iter().find(|(known, _)| *known == name) {
            Some((_, value)) => out.push_str(value),
            None => {
                let names: Vec<&str> = values.iter().map(|(name, _)| *name).collect();
                let message = format!("{of}: `{{{{{inside}}}}}` in {template:?} is not known here");
                let hint = did_you_mean(name, &names).unwrap_or_else(|| format!("known are: {}", names.join(", ")));
                return Err(Error::new(Kind::Option, message).hint(hint));
            }
        }
        rest = tail;
    }
    out.push_str(rest);
    Ok(out)
}

/// Expands an `output` option for an artifact: `BuildName` and `BuilderType`, and `more`; relative paths start at the
/// script's folder.
pub fn output(of: &str, template: &str, artifact: &Artifact, more: &[(&str, &str)], cx: &BuildCx) -> Result<PathBuf> {
    let build = build_name(artifact, cx);
    let builder = builder_type(artifact);
    let mut values = vec![("BuildName", build.as_str()), ("BuilderType", builder.as_str())];
    values.extend_from_slice(more);
    let name = expand(&format!("{of}: option `output`"), template, &values)?;
    if name.is_empty() || name.ends_with('/') {
        let message = format!("{of}: option `output`: {name:?} does not name a file");
        return Err(Error::new(Kind::Option, message));
    }
    Ok(cx.settings.resolve(name))
}

/// Where a post-processed artifact notes which builder it all began with.
const BUILDER_TYPE: &str = "builder_type";

/// Returns the builder that an artifact began with, as Packer's `BuilderType`: `amazon.ebs` is `amazon-ebs` there.
pub fn builder_type(artifact: &Artifact) -> String {
    let first = artifact.metadata.get(BUILDER_TYPE).and_then(|value| value.as_str());
    first.unwrap_or(&artifact.builder).replace('.', "-")
}

/// Returns what a post-processor makes of an artifact, without files yet.
pub fn derive(artifact: &Artifact, kind: &str, post_processor: &str) -> Artifact {
    let mut derived =
        Artifact { kind: kind.into(), builder: post_processor.into(), files: Vec::new(), ..artifact.clone() };
    derived.metadata.entry(BUILDER_TYPE.into()).or_insert_with(|| artifact.builder.clone().into());
    derived
}

/// Returns the build's name, fit for a file name.
pub fn build_name(artifact: &Artifact, cx: &BuildCx) -> String {
    let name = if artifact.build.is_empty() { &*cx.build } else { artifact.build.as_str() };
    name.replace('/', "-")
}

/// Returns the path of an output that the script does not name: beside the artifact, called after its only file, or
/// after build and builder.
pub fn beside(artifact: &Artifact, extension: &str, cx: &BuildCx) -> PathBuf {
    match artifact.files.as_slice() {
        [file] => {
            let mut name = file.path.clone().into_os_string();
            name.push(".");
            name.push(extension);
            name.into()
        }
        files => {
            let folder = files.first().and_then(|file| file.path.parent()).unwrap_or(&cx.settings.script_dir);
            folder.join(format!("{}_{}.{extension}", build_name(artifact, cx), artifact.builder))
        }
    }
}

/// Returns `path` as seen from the folder `from`, both absolute.
pub fn relative(path: &Path, from: &Path) -> PathBuf {
    let (mut there, mut here) = (path.components().peekable(), from.components().peekable());
    while there.peek().is_some() && there.peek() == here.peek() {
        there.next();
        here.next();
    }
    let up = here.map(|_| std::path::Component::ParentDir);
    up.chain(there).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expands_what_it_knows_and_names_what_it_does_not() {
        let values = [("BuildName", "web"), ("ChecksumType", "md5")];
        assert_eq!(expand("x", "{{.BuildName}}-{{ .ChecksumType }}.txt", &values).unwrap(), "web-md5.txt");
        let error = expand("x", "{{ .BuildNmae }}", &values).unwrap_err();
        assert_eq!(error.hints(), ["did you mean `BuildName`?"]);
        assert!(expand("x", "{{ .BuildName", &values).is_err());
    }

    #[test]
    fn relative_goes_up_and_down() {
        let relative = |path: &str, from: &str| super::relative(Path::new(path), Path::new(from));
        assert_eq!(relative("/a/b/c", "/a/b"), Path::new("c"));
        assert_eq!(relative("/a/b/c", "/a/x/y"), Path::new("../../b/c"));
    }
}
