//! Packer's placeholders, `{{ .HTTPIP }}`: values that are known only when the machine is about to start.

use std::borrow::Cow;

use super::Value;
use super::options::did_you_mean;
use crate::error::{Error, Kind, Result};

/// Names and values that `{{ .Name }}` stands for.
#[derive(Debug, Clone, Default)]
pub struct Placeholders(Vec<(&'static str, String)>);

impl Placeholders {
    /// Adds a value under a name (`HTTPIP`); one that is there already is replaced.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Placeholders {
        self.0.retain(|(other, _)| *other != name);
        self.0.push((name, value.into()));
        self
    }

    /// Returns `text` with its placeholders filled in. A name that is not known is an error; braces that hold no
    /// `.Name` are text.
    pub fn fill<'t>(&self, text: &'t str) -> Result<Cow<'t, str>> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let inside = after.split_once("}}");
            let name = inside.and_then(|(inside, _)| name_of(inside));
            let (Some((_, tail)), Some(name)) = (inside, name) else {
                filled.push_str(before);
                filled.push_str("{{");
                rest = after;
                continue;
            };
            filled.push_str(before);
            filled.push_str(self.get(name)?);
            rest = tail;
        }
        if filled.is_empty() && rest.len() == text.len() {
            return Ok(Cow::Borrowed(text));
        }
        filled.push_str(rest);
        Ok(Cow::Owned(filled))
    }

    /// Returns `text` with the names that are known filled in; everything else is the text's own affair.
    pub fn fill_known(&self, text: &str) -> String {
        let mut filled = text.to_owned();
        for (name, value) in &self.0 {
            for form in [format!("{{{{ .{name} }}}}"), format!("{{{{.{name}}}}}")] {
                if filled.contains(&form) {
                    filled = filled.replace(&form, value);
                }
            }
        }
        filled
    }

    /// Returns the values as what a function among the options is given: `{ HTTPIP = "10.0.2.2", … }`.
    pub fn to_value(&self) -> Value {
        Value::Map(self.0.iter().map(|(name, value)| ((*name).to_owned(), Value::Str(value.clone()))).collect())
    }

    /// Returns the values by their names.
    pub fn to_map(&self) -> std::collections::BTreeMap<String, String> {
        self.0.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    fn get(&self, name: &str) -> Result<&str> {
        if let Some((_, value)) = self.0.iter().find(|(known, _)| *known == name) {
            return Ok(value);
        }
        let known: Vec<&str> = self.0.iter().map(|(name, _)| *name).collect();
        let error = Error::new(Kind::Option, format!("there is no placeholder `{{{{ .{name} }}}}` here"));
        Err(match did_you_mean(name, &known) {
            Some(hint) => error.hint(hint),
            None => error.hint(format!("there are: {}", known.join(", "))),
        })
    }
}

/// Returns `text` with a zero in place of each character of its placeholders: what can be checked before their values are known.
pub fn masked(text: &str) -> String {
    let mut masked = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        masked.push_str(before);
        match after.split_once("}}") {
            Some((inside, tail)) if name_of(inside).is_some() => {
                masked.extend(std::iter::repeat_n('0', inside.chars().count() + 4));
                rest = tail;
            }
            _ => {
                masked.push_str("{{");
                rest = after;
            }
        }
    }
    masked.push_str(rest);
    masked
}

/// Returns the name in ` .HTTPIP ` (also with Go's trim marks, `- .HTTPIP -`); none when it is something else.
fn name_of(inside: &str) -> Option<&str> {
    let inside = inside.strip_prefix('-').unwrap_or(inside);
    let name = inside.strip_suffix('-').unwrap_or(inside).trim().strip_prefix('.')?;
    (!name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_masked_in_place() {
        assert_eq!(masked("a{{ .X }}b {{ x }} {{.Y}}"), "a00000000b {{ x }} 000000");
        assert_eq!(masked("{{ {{ .Ä }}"), "{{ {{ .Ä }}");
    }

    #[test]
    fn known_names_are_filled_in_and_others_are_errors() {
        let values = Placeholders::default().with("HTTPIP", "10.0.2.2").with("HTTPPort", "8000").with("Name", "x");
        let fill = |text: &str| values.fill(text).map(Cow::into_owned);
        assert_eq!(fill("url=http://{{ .HTTPIP }}:{{.HTTPPort}}/a").unwrap(), "url=http://10.0.2.2:8000/a");
        assert_eq!(fill("plain").unwrap(), "plain");
        assert_eq!(fill("{{ x }} {{").unwrap(), "{{ x }} {{");
        assert_eq!(fill("{{ {{ .Name }}").unwrap(), "{{ x");
        assert_eq!(fill("{{ .HTTPIp }}").unwrap_err().hints(), ["did you mean `HTTPIP`?"]);
        assert_eq!(values.fill_known("{{ .Name }}{{.HTTPPort}} {{ .State }}"), "x8000 {{ .State }}");
        assert!(fill("{{ .Xyzzyx }}").unwrap_err().hints()[0].contains("HTTPIP, HTTPPort, Name"));
    }
}
