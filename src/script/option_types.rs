//! Types of option fields that several functions of the API share.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::engine::Value;

/// Any value, kept as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Any(pub Value);

impl<'de> Deserialize<'de> for Any {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Any, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Any;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("plain data")
            }
            fn visit_unit<E>(self) -> Result<Any, E> {
                Ok(Any(Value::Nil))
            }
            fn visit_bool<E>(self, b: bool) -> Result<Any, E> {
                Ok(Any(Value::Bool(b)))
            }
            fn visit_i64<E>(self, n: i64) -> Result<Any, E> {
                Ok(Any(Value::Int(n)))
            }
            fn visit_f64<E>(self, n: f64) -> Result<Any, E> {
                Ok(Any(Value::Float(n)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Any, E> {
                Ok(Any(Value::Str(text.to_owned())))
            }
            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Any, E> {
                Ok(Any(Value::Bytes(bytes)))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Any, A::Error> {
                let mut list = Vec::new();
                while let Some(Any(item)) = items.next_element()? {
                    list.push(item);
                }
                Ok(Any(Value::List(list)))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Any, A::Error> {
                let mut map = Vec::new();
                while let Some((name, Any(item))) = entries.next_entry()? {
                    map.push((name, item));
                }
                Ok(Any(Value::Map(map)))
            }
        }
        deserializer.deserialize_any(V)
    }
}

/// A string of any bytes; a number is its digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByteString(pub Vec<u8>);

impl<'de> Deserialize<'de> for ByteString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ByteString, D::Error> {
        struct V;
        impl Visitor<'_> for V {
            type Value = ByteString;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E>(self, text: &str) -> Result<ByteString, E> {
                Ok(ByteString(text.into()))
            }
            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<ByteString, E> {
                Ok(ByteString(bytes))
            }
            fn visit_i64<E>(self, n: i64) -> Result<ByteString, E> {
                Ok(ByteString(n.to_string().into()))
            }
            fn visit_f64<E>(self, n: f64) -> Result<ByteString, E> {
                Ok(ByteString(n.to_string().into()))
            }
        }
        deserializer.deserialize_any(V)
    }
}

/// What stands in a place for text: a string, a number, `true` or `false`.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    Text(String),
    Bool(bool),
}

impl Scalar {
    /// Returns it as text.
    pub fn text(&self) -> &str {
        match self {
            Scalar::Text(text) => text,
            Scalar::Bool(true) => "true",
            Scalar::Bool(false) => "false",
        }
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Scalar, D::Error> {
        struct V;
        impl Visitor<'_> for V {
            type Value = Scalar;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a number or a boolean")
            }
            fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar::Text(text.to_owned()))
            }
            fn visit_i64<E>(self, n: i64) -> Result<Scalar, E> {
                Ok(Scalar::Text(n.to_string()))
            }
            fn visit_f64<E>(self, n: f64) -> Result<Scalar, E> {
                Ok(Scalar::Text(n.to_string()))
            }
            fn visit_bool<E>(self, b: bool) -> Result<Scalar, E> {
                Ok(Scalar::Bool(b))
            }
        }
        deserializer.deserialize_any(V)
    }
}

/// Environment variables: a table, in which `false` takes one away, or a list of `"NAME=value"`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variables(pub Vec<(String, Option<String>)>);

impl<'de> Deserialize<'de> for Variables {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Variables, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Variables;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of NAME = value, or a list of \"NAME=value\"")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Variables, A::Error> {
                let mut variables = Vec::new();
                while let Some(item) = items.next_element::<String>()? {
                    match item.split_once('=') {
                        Some((name, value)) if is_variable(name) => {
                            variables.push((name.to_owned(), Some(value.to_owned())));
                        }
                        _ => return Err(de::Error::invalid_value(de::Unexpected::Str(&item), &"\"NAME=value\"")),
                    }
                }
                Ok(Variables(variables))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Variables, A::Error> {
                let mut variables = Vec::new();
                while let Some((name, value)) = entries.next_entry::<String, Scalar>()? {
                    if !is_variable(&name) {
                        let expected = &"the name of an environment variable";
                        return Err(de::Error::invalid_value(de::Unexpected::Str(&name), expected));
                    }
                    let value = (value != Scalar::Bool(false)).then(|| value.text().to_owned());
                    variables.push((name, value));
                }
                Ok(Variables(variables))
            }
        }
        deserializer.deserialize_any(V)
    }
}

/// Returns whether the system takes it as a variable's name.
fn is_variable(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0'])
}

/// A file's mode as an octal string: `"0644"`. Lua has no octal numbers, so `644` would not mean what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileMode(pub u32);

impl<'de> Deserialize<'de> for FileMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<FileMode, D::Error> {
        struct V;
        impl Visitor<'_> for V {
            type Value = FileMode;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a file mode as an octal string such as \"0644\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<FileMode, E> {
                let digits = text.strip_prefix("0o").unwrap_or(text);
                match u32::from_str_radix(digits, 8) {
                    Ok(mode) if mode <= 0o7777 => Ok(FileMode(mode)),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(V)
    }
}
