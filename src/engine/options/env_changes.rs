//! Changes to the environment of a program on this host.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::Scalar;
use super::env::{assignment, without_nul};

/// Changes to the environment of a program on this host: a table of name = value, in which `false` takes a variable
/// away, or a list of `"NAME=value"`. Names are as free as the system lets them be: no shell reads them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EnvChanges(pub Vec<(String, Option<String>)>);

fn change<E: de::Error>(name: String, value: Option<String>) -> Result<(String, Option<String>), E> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(E::custom(format!("{name:?} cannot be the name of an environment variable")));
    }
    let value = value.map(|value| without_nul(&name, value)).transpose()?;
    Ok((name, value))
}

impl<'de> Deserialize<'de> for EnvChanges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<EnvChanges, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = EnvChanges;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of NAME = value, or a list of \"NAME=value\"")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<EnvChanges, A::Error> {
                let mut changes = Vec::new();
                while let Some(item) = items.next_element::<Scalar>()? {
                    let (name, value) = assignment(item.text())?;
                    changes.push(change(name, Some(value))?);
                }
                Ok(EnvChanges(changes))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<EnvChanges, A::Error> {
                let mut changes = Vec::new();
                while let Some((name, value)) = entries.next_entry::<String, Scalar>()? {
                    let value = (value != Scalar::Bool(false)).then(|| value.text().to_owned());
                    changes.push(change(name, value)?);
                }
                Ok(EnvChanges(changes))
            }
        }
        deserializer.deserialize_any(V)
    }
}
