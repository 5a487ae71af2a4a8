//! Filters: what AWS is to look for.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::Filter;
use serde::Deserialize;

use super::wrong;
use crate::error::Result;

/// A text or several: options take one for a list of one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Texts(Vec<String>);

impl Texts {
    /// Returns all of them.
    pub fn list(&self) -> Vec<String> {
        self.0.clone()
    }
}

/// Filters by AWS's names of them: `{ name = "web-*", ["tag:Role"] = { "a", "b" } }`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Filters(pub BTreeMap<String, Texts>);

impl Filters {
    /// Tells whether anything is looked for.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks them: AWS takes one without values for one that nothing fits.
    pub fn check(&self, option: &str) -> Result<()> {
        match self.0.iter().find(|(_, values)| values.0.is_empty()) {
            Some((name, _)) => Err(wrong(option, format_args!("`{name}` has no values"))),
            None => Ok(()),
        }
    }

    /// Returns them as a request has them; none where there are none.
    pub fn request(&self) -> Option<Vec<Filter>> {
        let filter = |(name, values): (&String, &Texts)| filter(name, values.list());
        (!self.is_empty()).then(|| self.0.iter().map(filter).collect())
    }
}

impl std::fmt::Display for Filters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let texts: Vec<String> =
            self.0.iter().map(|(name, values)| format!("{name} = {}", values.list().join(" or "))).collect();
        f.write_str(&texts.join(", "))
    }
}

/// Returns one filter as a request has it.
pub fn filter(name: &str, values: impl IntoIterator<Item = impl Into<String>>) -> Filter {
    Filter::builder().name(name).set_values(Some(values.into_iter().map(Into::into).collect())).build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Value;
    use crate::engine::options::decode;

    fn text(text: &str) -> Value {
        Value::Str(text.into())
    }

    fn filters(entries: &[(&str, Value)]) -> Result<Filters> {
        decode("x", Value::Map(entries.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()))
    }

    #[test]
    fn one_value_and_several_are_as_they_are_given() {
        let given = filters(&[("name", text("web-*")), ("tag:Role", Value::List(vec![text("a"), text("b")]))]).unwrap();
        let made = given.request().unwrap();
        assert_eq!((made[0].name(), made[0].values()), (Some("name"), &["web-*".to_owned()][..]));
        assert_eq!((made[1].name(), made[1].values()), (Some("tag:Role"), &["a".to_owned(), "b".to_owned()][..]));
        assert_eq!(given.to_string(), "name = web-*, tag:Role = a or b");
        assert_eq!(Filters::default().request(), None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = filters(&[("name", Value::Bool(true))]).unwrap_err();
        assert_eq!(error.message(), "x: option `name`: expected a list, found the boolean true");
        let empty = filters(&[("name", Value::List(Vec::new()))]).unwrap();
        assert_eq!(empty.check("filters").unwrap_err().message(), "option `filters`: `name` has no values");
    }
}
