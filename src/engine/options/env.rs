//! The environment of a remote command.

use std::fmt;

use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::Scalar;
use crate::engine::quote;

/// A remote command's environment variables: a table of name = value, or a list of `"NAME=value"`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Env(pub Vec<(String, String)>);

impl Env {
    /// Tells whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns these variables followed by `more`, which win where a name is in both.
    pub fn and(&self, more: &Env) -> Env {
        let mut all: Vec<_> =
            self.0.iter().filter(|(name, _)| more.0.iter().all(|(n, _)| n != name)).cloned().collect();
        all.extend(more.0.iter().cloned());
        Env(all)
    }

    /// Returns shell code that exports them, whatever is in the values.
    pub fn exports(&self) -> String {
        self.0.iter().map(|(name, value)| format!("export {name}={}\n", quote::word(value))).collect()
    }
}

fn variable<E: de::Error>(name: String, value: String) -> Result<(String, String), E> {
    if !quote::is_env_name(&name) {
        return Err(E::custom(format!("{name:?} cannot be the name of an environment variable")));
    }
    Ok((name.clone(), without_nul(&name, value)?))
}

/// Refuses a value that no environment can hold.
pub(super) fn without_nul<E: de::Error>(name: &str, value: String) -> Result<String, E> {
    match value.contains('\0') {
        true => Err(E::custom(format!("the value of {name} contains a NUL byte, which no environment can hold"))),
        false => Ok(value),
    }
}

/// Takes `NAME=value` apart.
pub(super) fn assignment<E: de::Error>(item: &str) -> Result<(String, String), E> {
    match item.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err(E::custom(format!("expected \"NAME=value\", found {item:?}"))),
    }
}

impl<'de> Deserialize<'de> for Env {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Env, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Env;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of NAME = value, or a list of \"NAME=value\"")
            }
            fn visit_unit<E: de::Error>(self) -> Result<Env, E> {
                Ok(Env::default())
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Env, A::Error> {
                let mut entries = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Scalar>()? {
                    entries.push(variable(name, value.text().to_owned())?);
                }
                // A Lua table has no order; the operation's key needs one.
                entries.sort();
                Ok(Env(entries))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Env, A::Error> {
                let mut entries = Vec::new();
                while let Some(item) = list.next_element::<Scalar>()? {
                    let (name, value) = assignment(item.text())?;
                    entries.push(variable(name, value)?);
                }
                Ok(Env(entries))
            }
        }
        deserializer.deserialize_any(V)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::options::{Value, decode};

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Options {
        env: Env,
    }

    fn options(name: &str, value: Value) -> crate::error::Result<Options> {
        decode("vm:x", Value::Map(vec![(name.into(), value)]))
    }

    #[test]
    fn an_environment_is_a_sorted_table_or_a_list_in_order() {
        let table = Value::Map(vec![("B".into(), Value::Int(2)), ("A".into(), Value::Bool(true))]);
        assert_eq!(options("env", table).unwrap().env.0, [("A".into(), "true".into()), ("B".into(), "2".into())]);
        let list = Value::List(vec![Value::Str("B=x=y".into()), Value::Str("A=".into())]);
        assert_eq!(options("env", list).unwrap().env.0, [("B".into(), "x=y".into()), ("A".into(), "".into())]);
        assert!(options("env", Value::List(vec![])).unwrap().env.is_empty());
    }

    #[test]
    fn what_cannot_be_a_variable_is_refused() {
        let bad = |value| options("env", value).unwrap_err().message().to_owned();
        assert!(bad(Value::List(vec![Value::Str("novalue".into())])).contains("expected \"NAME=value\""));
        assert!(bad(Value::Map(vec![("A B".into(), Value::Int(1))])).contains("\"A B\" cannot be the name"));
        assert!(bad(Value::Map(vec![("A".into(), Value::Str("x\0".into()))])).contains("NUL"));
    }
}
