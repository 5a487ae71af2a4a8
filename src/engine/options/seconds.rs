//! Durations.

use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};

/// A duration as users write it: `30` (seconds), `1.5`, `"20m"`, `"1h30m"`, `"250ms"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seconds(pub Duration);

/// A century. More than any clock counts would be added to one some day, and an `Instant` panics then.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

impl Seconds {
    /// Parses Go's duration notation, which Packer's users write: numbers with `ms`, `s`, `m`, `h` or `d`.
    pub fn parse(text: &str) -> Option<Seconds> {
        let mut rest = text.trim();
        if rest.is_empty() {
            return None;
        }
        if let Ok(seconds) = rest.parse::<f64>() {
            return Duration::try_from_secs_f64(seconds).ok().map(Seconds::of);
        }
        let mut total = Duration::ZERO;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
            let (number, tail) = rest.split_at_checked(digits)?;
            let unit_end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at_checked(unit_end)?;
            let factor = match unit {
                "ns" => 1e-9,
                "us" | "µs" | "μs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                "d" => 86_400.0,
                _ => return None,
            };
            let seconds = number.parse::<f64>().ok()? * factor;
            total = total.checked_add(Duration::try_from_secs_f64(seconds).ok()?)?;
            rest = tail;
        }
        Some(Seconds::of(total))
    }

    fn of(duration: Duration) -> Seconds {
        Seconds(duration.min(LONGEST))
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Seconds, D::Error> {
        struct V;
        impl Visitor<'_> for V {
            type Value = Seconds;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as 30 (seconds) or \"20m\"")
            }
            fn visit_i64<E: de::Error>(self, n: i64) -> Result<Seconds, E> {
                let n = u64::try_from(n).map_err(|_| E::invalid_value(de::Unexpected::Signed(n), &self))?;
                Ok(Seconds::of(Duration::from_secs(n)))
            }
            fn visit_u64<E: de::Error>(self, n: u64) -> Result<Seconds, E> {
                Ok(Seconds::of(Duration::from_secs(n)))
            }
            fn visit_f64<E: de::Error>(self, n: f64) -> Result<Seconds, E> {
                let duration =
                    Duration::try_from_secs_f64(n).map_err(|_| E::invalid_value(de::Unexpected::Float(n), &self))?;
                Ok(Seconds::of(duration))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Seconds, E> {
                Seconds::parse(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(V)
    }
}

impl Serialize for Seconds {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parser_never_panics(text in "\\PC{0,20}") {
            let _ = Seconds::parse(&text);
        }

        #[test]
        fn durations_round_trip(h in 0u64..100, m in 0u64..60, s in 0u64..60) {
            let parsed = Seconds::parse(&format!("{h}h{m}m{s}s")).unwrap();
            prop_assert_eq!(parsed.0.as_secs(), h * 3600 + m * 60 + s);
        }
    }
}
