//! Option values that several provisioners share: an environment, a file mode, bytes.

use std::fmt;

use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::engine::quote;

/// Environment variables: a table of name = value, or a list of `"NAME=value"`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Env(pub Vec<(String, String)>);

impl Env {
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
    if value.contains('\0') {
        return Err(E::custom(format!("the value of {name} contains a NUL byte, which no environment can hold")));
    }
    Ok((name, value))
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
                while let Some((name, Text(value))) = map.next_entry::<String, Text>()? {
                    entries.push(variable(name, value)?);
                }
                // A Lua table has no order; the operation's key needs one.
                entries.sort();
                Ok(Env(entries))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Env, A::Error> {
                let mut entries = Vec::new();
                while let Some(Text(item)) = list.next_element::<Text>()? {
                    let (name, value) = item
                        .split_once('=')
                        .ok_or_else(|| de::Error::custom(format!("expected \"NAME=value\", found {item:?}")))?;
                    entries.push(variable(name.to_owned(), value.to_owned())?);
                }
                Ok(Env(entries))
            }
        }
        deserializer.deserialize_any(V)
    }
}

/// A string, or a number or boolean as its text.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        struct V;
        impl Visitor<'_> for V {
            type Value = Text;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a number or a boolean")
            }
            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.to_owned()))
            }
            fn visit_bool<E>(self, b: bool) -> Result<Text, E> {
                Ok(Text(b.to_string()))
            }
            fn visit_i64<E>(self, n: i64) -> Result<Text, E> {
                Ok(Text(n.to_string()))
            }
            fn visit_u64<E>(self, n: u64) -> Result<Text, E> {
                Ok(Text(n.to_string()))
            }
            fn visit_f64<E>(self, n: f64) -> Result<Text, E> {
                Ok(Text(n.to_string()))
            }
        }
        deserializer.deserialize_any(V)
    }
}

/// Permission bits, written as an octal string: `"0644"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileMode(pub u32);

impl FileMode {
    /// Returns the bits as `chmod` takes them.
    pub fn octal(self) -> String {
        format!("{:04o}", self.0)
    }
}

impl Serialize for FileMode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.octal())
    }
}

impl<'de> Deserialize<'de> for FileMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<FileMode, D::Error> {
        struct V;
        impl Visitor<'_> for V {
            type Value = FileMode;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // Lua has no octal numbers: 755 and 0755 are the same number there, and not the one meant.
                f.write_str("a mode as an octal string such as \"0644\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<FileMode, E> {
                u32::from_str_radix(text.trim_start_matches("0o"), 8)
                    .ok()
                    .filter(|mode| *mode <= 0o7777)
                    .map(FileMode)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(V)
    }
}

/// Bytes given by a script; an operation's request holds their digest in their place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Blob(pub Vec<u8>);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&digest(&self.0))
    }
}

/// Returns what stands for content in an operation's request.
pub fn digest(bytes: &[u8]) -> String {
    format!("blake3:{}", blake3::hash(bytes).to_hex())
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Blob, D::Error> {
        struct V;
        impl Visitor<'_> for V {
            type Value = Blob;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E>(self, text: &str) -> Result<Blob, E> {
                Ok(Blob(text.as_bytes().to_vec()))
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(bytes.to_vec()))
            }
            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Blob, E> {
                Ok(Blob(bytes))
            }
        }
        deserializer.deserialize_any(V)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Value;
    use crate::engine::options::decode;

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Options {
        env: Env,
        mode: Option<FileMode>,
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

    #[test]
    fn a_mode_is_an_octal_string() {
        assert_eq!(options("mode", Value::Str("0755".into())).unwrap().mode, Some(FileMode(0o755)));
        let message = options("mode", Value::Int(755)).unwrap_err().message().to_owned();
        assert!(message.contains("octal string such as \"0644\", found the number 755"), "{message}");
        assert!(options("mode", Value::Str("0888".into())).is_err());
    }
}
