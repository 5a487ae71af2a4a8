//! Filters: what AWS is to look for.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::Filter;
use serde::Deserialize;

/// A text or several, where a list of one is mostly meant.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Texts {
    One(String),
    Many(Vec<String>),
}

impl Default for Texts {
    fn default() -> Texts {
        Texts::Many(Vec::new())
    }
}

impl Texts {
    /// Returns all of them.
    pub fn list(&self) -> Vec<String> {
        match self {
            Texts::One(text) => vec![text.clone()],
            Texts::Many(texts) => texts.clone(),
        }
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
