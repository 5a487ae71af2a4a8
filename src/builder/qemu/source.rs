//! What a machine's disk starts from: a path, a URL, or what another build left.

use std::fmt;
use std::path::PathBuf;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use crate::engine::{Artifact, BuildCx};
use crate::error::{Error, Kind, Result};
use crate::media::checksum::Checksum;
use crate::media::download;

/// The value of `source_image`.
#[derive(Debug, Clone, PartialEq)]
pub enum ImageSource {
    /// As the user wrote it; relative to the script.
    Path(PathBuf),
    Url(String),
    Artifact(Box<Artifact>),
}

impl ImageSource {
    fn parse(text: &str) -> ImageSource {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        match scheme.as_deref() {
            Some("file") => ImageSource::Path(text.get("file://".len()..).unwrap_or_default().into()),
            Some("http" | "https" | "s3") => ImageSource::Url(text.to_owned()),
            _ => ImageSource::Path(text.into()),
        }
    }

    /// Returns the image among an artifact's files, or an error that lists what it has.
    pub fn artifact_image(artifact: &Artifact) -> Result<PathBuf> {
        let is_image = |path: &&crate::engine::artifact::ArtifactFile| {
            let extension = path.path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
            ["qcow2", "raw", "img", "vmdk", "vdi", "vhdx", "vhd", "qed"].contains(&extension.as_str())
        };
        let found = match artifact.kind.as_str() {
            "image" => artifact.files.iter().find(is_image).or(artifact.files.first()),
            _ => artifact.files.iter().find(is_image),
        };
        found.map(|file| file.path.clone()).ok_or_else(|| {
            let names: Vec<String> = artifact.files.iter().map(|file| file.path.display().to_string()).collect();
            Error::new(
                Kind::Option,
                format!("the artifact of kind {} has no disk image; its files: {}", artifact.kind, names.join(", ")),
            )
            .hint("source_image takes what vm:finish() or artifact:convert() returned")
        })
    }
}

/// Returns the path of what a path or URL names, checked against its checksum.
pub async fn fetch(source: &str, checksum: Option<&str>, cx: &BuildCx) -> Result<PathBuf> {
    let checksum = match checksum {
        Some(text) => Checksum::parse(text).map_err(|e| e.within("option `source_checksum`"))?,
        None => Checksum::None,
    };
    download::fetch(source, &checksum, cx).await.map_err(|e| e.within("option `source_image`"))
}

impl<'de> Deserialize<'de> for ImageSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ImageSource, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = ImageSource;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path, a URL or an artifact")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<ImageSource, E> {
                Ok(ImageSource::parse(text))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ImageSource, A::Error> {
                let artifact = Artifact::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(ImageSource::Artifact(Box::new(artifact)))
            }
        }
        deserializer.deserialize_any(V)
    }
}

/// A cloud-init document: a table, text, or the path of a file.
#[derive(Debug, Clone, PartialEq)]
pub enum Document {
    Table(serde_json::Value),
    Text(String),
    File(PathBuf),
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Document, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Document;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table, text, or the path of a file")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Document, E> {
                // One line that is no comment can only be a path: every kind of document starts with one or has several.
                let inline = text.contains('\n') || text.starts_with('#');
                Ok(if inline { Document::Text(text.to_owned()) } else { Document::File(text.into()) })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Document, A::Error> {
                let table = serde_json::Value::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(Document::Table(table))
            }
            // An empty Lua table is a list and a map at once.
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Document, A::Error> {
                match list.next_element::<serde_json::Value>()? {
                    None => Ok(Document::Table(serde_json::Value::Object(Default::default()))),
                    Some(_) => Err(de::Error::invalid_type(de::Unexpected::Seq, &self)),
                }
            }
        }
        deserializer.deserialize_any(V)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::options::{Value, decode};

    #[test]
    fn takes_paths_urls_and_artifacts() {
        let of = |text: &str| decode::<ImageSource>("x", Value::Str(text.into())).unwrap();
        assert_eq!(of("base.qcow2"), ImageSource::Path("base.qcow2".into()));
        assert_eq!(of("file:///a/b"), ImageSource::Path("/a/b".into()));
        assert_eq!(of("HTTPS://x/y"), ImageSource::Url("HTTPS://x/y".into()));
        assert_eq!(of("s3://bucket/x.qcow2"), ImageSource::Url("s3://bucket/x.qcow2".into()));
        let artifact = Artifact {
            id: "VM".into(),
            kind: "files".into(),
            builder: "qemu".into(),
            build: "b".into(),
            files: ["/o/x.txt", "/o/x.qcow2"]
                .map(|path| crate::engine::artifact::ArtifactFile { path: path.into(), size: 1, digests: vec![] })
                .to_vec(),
            metadata: Default::default(),
        };
        let value = Value::from(serde_json::to_value(&artifact).unwrap());
        let decoded: ImageSource = decode("x", value).unwrap();
        assert_eq!(decoded, ImageSource::Artifact(Box::new(artifact.clone())));
        assert_eq!(ImageSource::artifact_image(&artifact).unwrap(), PathBuf::from("/o/x.qcow2"));
        let none = Artifact { files: artifact.files[..1].to_vec(), ..artifact };
        assert!(ImageSource::artifact_image(&none).unwrap_err().message().contains("/o/x.txt"));
        let error = decode::<ImageSource>("x", Value::Int(3)).unwrap_err();
        assert_eq!(error.message(), "x: expected a path, a URL or an artifact, found the number 3");
    }

    #[test]
    fn documents_are_tables_texts_or_files() {
        let of = |value: Value| decode::<Document>("x", value).unwrap();
        assert_eq!(of(Value::Str("#cloud-config".into())), Document::Text("#cloud-config".into()));
        assert_eq!(of(Value::Str("seed/user-data".into())), Document::File("seed/user-data".into()));
        let table = Value::Map(vec![("a".into(), Value::List(vec![Value::Int(1)]))]);
        assert_eq!(of(table), Document::Table(serde_json::json!({ "a": [1] })));
        assert_eq!(of(Value::List(vec![])), Document::Table(serde_json::json!({})));
    }
}
