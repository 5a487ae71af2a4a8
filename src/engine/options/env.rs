//! The environment of a remote command.

use std::fmt;

use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::Scalar;
use crate::engine::quote;

/// Changes to a remote command's environment: a table of name = value, in which `false` takes a variable away, or a
/// list of `"NAME=value"`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Env(pub Vec<(String, Option<String>)>);

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

    /// Returns shell code that makes these changes, whatever is in the values.
    pub fn exports(&self) -> String {
        let change = |(name, value): &(String, Option<String>)| match value {
            Some(value) => format!("export {name}={}\n", quote::word(value)),
            None => format!("unset {name}\n"),
        };
        self.0.iter().map(change).collect()
    }
}

fn variable<E: de::Error>(name: String, value: Option<String>) -> Result<(String, Option<String>), E> {
    if !quote::is_env_name(&name) {
        return Err(E::custom(format!("{name:?} cannot be the name of an environment variable")));
    }
    let value = value.map(|value| without_nul(&name, value)).transpose()?;
    Ok((name, value))
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
                    let value = (value != Scalar::Bool(false)).then(|| value.text().to_owned());
                    entries.push(variable(name, value)?);
                }
                // A Lua table has no order; the operation's key needs one.
                entries.sort();
                Ok(Env(entries))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Env, A::Error> {
                let mut entries = Vec::new();
                while let Some(item) = list.next_element::<Scalar>()? {
                    let (name, value) = assignment(item.text())?;
                    entries.push(variable(name, Some(value))?);
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
        let some = |text: &str| Some(text.to_owned());
        let table = [("B", Value::Int(2)), ("A", Value::Bool(true)), ("C", Value::Bool(false))];
        let table = Value::Map(table.map(|(name, value)| (name.to_owned(), value)).to_vec());
        let env = options("env", table).unwrap().env;
        assert_eq!(env.0, [("A".into(), some("true")), ("B".into(), some("2")), ("C".into(), None)]);
        assert_eq!(env.exports(), "export A=true\nexport B=2\nunset C\n");
        let list = Value::List(vec![Value::Str("B=x=y".into()), Value::Str("A=".into())]);
        assert_eq!(options("env", list).unwrap().env.0, [("B".into(), some("x=y")), ("A".into(), some(""))]);
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
