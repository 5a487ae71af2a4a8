//! Files whose content the script gives: `http_content`, `cd_content`, `floppy_content`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::engine::Value;
use crate::engine::options::{Any, Callback};
use crate::engine::placeholders::Placeholders;
use crate::error::{Error, Kind, Result};

/// What is in a file that the script makes.
#[derive(Debug, Clone, PartialEq)]
pub enum InlineContent {
    /// Text whose placeholders are filled in.
    Text(String),
    /// Bytes, taken as they are.
    Bytes(Vec<u8>),
    /// A function that returns the content, which is taken as it is.
    Function(Callback),
}

impl<'de> Deserialize<'de> for InlineContent {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Any::deserialize(deserializer)?.0 {
            Value::Str(text) => Ok(InlineContent::Text(text)),
            Value::Bytes(bytes) => Ok(InlineContent::Bytes(bytes)),
            Value::Function(function) => Ok(InlineContent::Function(function)),
            other => {
                let found = other.describe();
                Err(serde::de::Error::custom(format!(
                    "expected a string or a function that returns one, found {found}"
                )))
            }
        }
    }
}

/// Files by their paths.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct InlineFiles(BTreeMap<String, InlineContent>);

impl InlineFiles {
    /// Tells whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks that texts have no other placeholders than those of `values`, whose values may be empty yet; `option` is
    /// their option's name, for errors.
    pub fn check_placeholders(&self, option: &str, values: &Placeholders) -> Result<()> {
        for (path, content) in &self.0 {
            if let InlineContent::Text(text) = content {
                filled(text, &format!("option `{option}[{path:?}]`"), values)?;
            }
        }
        Ok(())
    }

    /// Returns the paths as they were given.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Returns the files by their paths without a slash at the front; `option` is their option's name, for errors.
    pub fn by_path(&self, option: &str) -> Result<BTreeMap<String, &InlineContent>> {
        let mut files = BTreeMap::new();
        for (key, content) in &self.0 {
            let path = clean(key).map_err(|why| {
                Error::new(Kind::Option, format!("option `{option}`: {key:?} cannot be a file's path: {why}"))
            })?;
            if files.insert(path, content).is_some() {
                return Err(Error::new(Kind::Option, format!("option `{option}`: {key:?} is there twice"))
                    .hint("a path with and one without a slash at the front are the same"));
            }
        }
        Ok(files)
    }
}

impl InlineContent {
    /// Returns the bytes as far as they are known before anything starts.
    pub fn known(&self) -> Vec<u8> {
        match self {
            InlineContent::Text(text) => text.clone().into_bytes(),
            InlineContent::Bytes(bytes) => bytes.clone(),
            InlineContent::Function(_) => Vec::new(),
        }
    }

    /// Returns the bytes; `place` says whose they are, for errors. A function is given the values as a table.
    pub async fn make(&self, place: &str, values: &Placeholders) -> Result<Vec<u8>> {
        match self {
            InlineContent::Text(text) => filled(text, place, values),
            InlineContent::Bytes(bytes) => Ok(bytes.clone()),
            InlineContent::Function(function) => {
                let answer = function.call(values.to_value()).await.map_err(|e| e.within(place))?;
                bytes_of(answer).map_err(|found| {
                    Error::new(Kind::Option, format!("{place}: the function returned {found}, expected a string"))
                })
            }
        }
    }
}

/// Returns a text with its placeholders filled in.
pub fn filled(text: &str, place: &str, values: &Placeholders) -> Result<Vec<u8>> {
    let filled = values.fill(text).map_err(|e| {
        e.within(place).hint("what a function returns is taken as it is: `function() return text end` keeps the braces")
    })?;
    Ok(filled.into_owned().into_bytes())
}

/// Returns the bytes of a string that a function answered with, or says what it is in their place.
pub fn bytes_of(answer: Value) -> Result<Vec<u8>, String> {
    match answer {
        Value::Str(text) => Ok(text.into_bytes()),
        Value::Bytes(bytes) => Ok(bytes),
        other => Err(other.describe()),
    }
}

/// Returns a path without empty parts, or says what is wrong with it.
fn clean(path: &str) -> Result<String, &'static str> {
    if path.ends_with('/') || path.is_empty() {
        return Err("it does not name a file");
    }
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if parts.iter().any(|part| matches!(*part, "." | "..")) {
        return Err("`.` and `..` are not possible in it");
    }
    if path.chars().any(char::is_control) {
        return Err("it has control characters in it");
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::options::decode;

    fn files(entries: &[(&str, Value)]) -> Result<InlineFiles> {
        decode("x", Value::Map(entries.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect()))
    }

    fn s(text: &str) -> Value {
        Value::Str(text.into())
    }

    #[test]
    fn paths_are_checked() {
        let good = files(&[("/a//b", s("x")), ("c d.txt", Value::Bytes(vec![0xff]))]).unwrap();
        let paths: Vec<String> = good.by_path("o").unwrap().into_keys().collect();
        assert_eq!(paths, ["a/b", "c d.txt"]);
        for bad in ["", "/", "a/", "../a", "a/../b", "a/./b", "a\nb"] {
            let error = files(&[(bad, s(""))]).unwrap().by_path("http_content").unwrap_err();
            assert!(error.message().starts_with("option `http_content`: "), "{error}");
        }
        assert!(files(&[("/a", s("")), ("a", s(""))]).unwrap().by_path("o").unwrap_err().message().contains("twice"));
        assert!(files(&[("a", Value::Int(1))]).unwrap_err().message().contains("found the number 1"));
    }

    #[test]
    fn a_placeholder_that_nobody_knows_is_found_before_its_value_is_known() {
        let names = Placeholders::default().with("HTTPIP", "").with("HTTPPort", "");
        let good = files(&[("a", s("{{ .HTTPIP }}:{{ .HTTPPort }} {{ item }}")), ("b", Value::Bytes(vec![0xff]))]);
        good.unwrap().check_placeholders("cd_content", &names).unwrap();
        let bad = files(&[("/a", s("{{ .HTTPPrt }}"))]).unwrap();
        let error = bad.check_placeholders("cd_content", &names).unwrap_err();
        assert_eq!(error.message(), "option `cd_content[\"/a\"]`: there is no placeholder `{{ .HTTPPrt }}` here");
        assert_eq!(error.hints()[0], "did you mean `HTTPPort`?");
    }

    #[tokio::test]
    async fn texts_are_filled_and_the_rest_is_as_it_is() {
        let values = Placeholders::default().with("Name", "web");
        let make = async |content: InlineContent| content.make("p", &values).await;
        assert_eq!(make(InlineContent::Text("a {{ .Name }}".into())).await.unwrap(), b"a web");
        assert_eq!(make(InlineContent::Bytes(b"{{ .Name }}\xff".to_vec())).await.unwrap(), b"{{ .Name }}\xff");
        let error = make(InlineContent::Text("{{ .Nam }}".into())).await.unwrap_err();
        assert!(error.message().starts_with("p: ") && error.hints().len() == 2, "{error} {:?}", error.hints());
        let echo = Callback::new(|value| {
            Box::pin(async move {
                let Value::Map(entries) = value else { panic!() };
                Ok(Value::Str(format!("{{{{ .Name }}}} {entries:?}")))
            })
        });
        let said = String::from_utf8(make(InlineContent::Function(echo)).await.unwrap()).unwrap();
        assert!(said.starts_with("{{ .Name }} [(\"Name\", Str(\"web\"))]"), "{said}");
        let none = Callback::new(|_| Box::pin(async { Ok(Value::Nil) }));
        let error = make(InlineContent::Function(none)).await.unwrap_err();
        assert_eq!(error.message(), "p: the function returned nil, expected a string");
    }
}
