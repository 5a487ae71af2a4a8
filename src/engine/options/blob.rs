//! Bytes that a script gives.

use std::fmt;

use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::engine::operation;

/// Bytes given by a script, a number as its digits; an operation's request holds their digest in their place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Blob(pub Vec<u8>);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&operation::digest(&self.0))
    }
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
            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Blob, E> {
                Ok(Blob(bytes))
            }
            fn visit_i64<E>(self, n: i64) -> Result<Blob, E> {
                Ok(Blob(n.to_string().into()))
            }
            fn visit_f64<E>(self, n: f64) -> Result<Blob, E> {
                Ok(Blob(n.to_string().into()))
            }
        }
        deserializer.deserialize_any(V)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::options::{Value, decode};

    #[test]
    fn text_bytes_and_numbers_are_bytes_and_only_their_digest_is_shown() {
        let blob = |value| decode::<Blob>("vm:run", value).map(|blob| blob.0);
        assert_eq!(blob(Value::Str("é".into())).unwrap(), "é".as_bytes());
        assert_eq!(blob(Value::Bytes(vec![0xff])).unwrap(), [0xff]);
        assert_eq!(blob(Value::Int(-5)).unwrap(), b"-5");
        assert!(blob(Value::Bool(true)).unwrap_err().message().contains("expected a string"));
        let shown = serde_json::to_string(&Blob(b"hunter2".to_vec())).unwrap();
        assert!(shown.starts_with("\"blake3:") && !shown.contains("hunter2"), "{shown}");
    }
}
