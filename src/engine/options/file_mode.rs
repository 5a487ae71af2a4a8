//! File modes.

use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

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
                f.write_str("a file mode as an octal string such as \"0644\"")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::options::{Value, decode};

    #[test]
    fn a_mode_is_an_octal_string() {
        let mode = |value| decode::<FileMode>("vm:write", value);
        assert_eq!(mode(Value::Str("0755".into())).unwrap(), FileMode(0o755));
        assert_eq!(mode(Value::Str("0o755".into())).unwrap(), FileMode(0o755));
        let message = mode(Value::Int(755)).unwrap_err().message().to_owned();
        assert!(message.contains("octal string such as \"0644\", found the number 755"), "{message}");
        assert!(mode(Value::Str("0888".into())).is_err());
        assert!(mode(Value::Str("17777".into())).is_err());
    }
}
