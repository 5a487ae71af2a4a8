//! Values of any type.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::Value;

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
