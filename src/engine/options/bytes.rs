//! Sizes.

use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};

/// A size as users write it: `"10G"`, `"512M"`, `"512 MiB"`; a bare number counts mebibytes, as in Packer and QEMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl Bytes {
    /// Parses a size; units are powers of 1024, case does not matter, a bare number is in mebibytes.
    pub fn parse(text: &str) -> Option<Bytes> {
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at_checked(digits)?;
        let shift = match unit.trim().to_ascii_lowercase().as_str() {
            "b" => 0,
            "k" | "kb" | "kib" => 10,
            "" | "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            "t" | "tb" | "tib" => 40,
            _ => return None,
        };
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(1 << shift).map(Bytes);
        }
        let bytes = number.parse::<f64>().ok()? * (1u64 << shift) as f64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in range")]
        (0.0..9e18).contains(&bytes).then_some(Bytes(bytes as u64))
    }

    /// Returns whole mebibytes, rounded up.
    pub fn mebibytes(self) -> u64 {
        self.0.div_ceil(1 << 20)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        struct V;
        impl Visitor<'_> for V {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as \"10G\" or 512 (mebibytes)")
            }
            fn visit_i64<E: de::Error>(self, n: i64) -> Result<Bytes, E> {
                let bytes = u64::try_from(n).ok().and_then(|n| n.checked_mul(1 << 20));
                bytes.map(Bytes).ok_or_else(|| E::invalid_value(de::Unexpected::Signed(n), &self))
            }
            fn visit_f64<E: de::Error>(self, n: f64) -> Result<Bytes, E> {
                Bytes::parse(&n.to_string()).ok_or_else(|| E::invalid_value(de::Unexpected::Float(n), &self))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Bytes, E> {
                Bytes::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(V)
    }
}

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{}B", self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parser_never_panics(text in "\\PC{0,20}") {
            let _ = Bytes::parse(&text);
        }

        #[test]
        fn sizes_round_trip(n in 0u64..1 << 20) {
            prop_assert_eq!(Bytes::parse(&format!("{n}")), Some(Bytes(n << 20)));
            prop_assert_eq!(Bytes::parse(&format!("{n} KiB")), Some(Bytes(n << 10)));
            prop_assert_eq!(Bytes::parse(&format!("{n}G")), Some(Bytes(n << 30)));
        }
    }
}
