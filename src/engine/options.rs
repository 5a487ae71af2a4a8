//! Option tables as data, and their decoding into structs.
//!
//! An option struct derives `serde::Deserialize` with `#[serde(default, deny_unknown_fields)]`. [`decode`] gives it the
//! table with errors that name the full path of the option, what was found, what was expected, and the nearest name for
//! an unknown one. [`fields`] lists a struct's options for the annotation test.

use std::fmt;
use std::time::Duration;

use serde::de::{self, DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind};

/// A value of an option table: what Lua has, without Lua.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(String),
    /// A string that is not UTF-8.
    Bytes(Vec<u8>),
    List(Vec<Value>),
    /// In the order given.
    Map(Vec<(String, Value)>),
    /// Something an option cannot hold, by its name: `function`, `thread`.
    Other(&'static str),
}

impl Value {
    /// Names the value for an error message.
    fn describe(&self) -> String {
        match self {
            Value::Nil => "nil".into(),
            Value::Bool(b) => format!("the boolean {b}"),
            Value::Int(i) => format!("the number {i}"),
            Value::Float(f) => format!("the number {f}"),
            Value::Str(s) if s.chars().count() <= 40 => format!("the string {s:?}"),
            Value::Str(_) => "a string".into(),
            Value::Bytes(_) => "a string that is not UTF-8".into(),
            Value::List(_) => "a list".into(),
            Value::Map(_) => "a table".into(),
            Value::Other(name) => format!("a {name}"),
        }
    }
}

impl From<serde_json::Value> for Value {
    fn from(json: serde_json::Value) -> Value {
        match json {
            serde_json::Value::Null => Value::Nil,
            serde_json::Value::Bool(b) => Value::Bool(b),
            serde_json::Value::Number(n) => {
                n.as_i64().map(Value::Int).unwrap_or_else(|| Value::Float(n.as_f64().unwrap_or(f64::NAN)))
            }
            serde_json::Value::String(s) => Value::Str(s),
            serde_json::Value::Array(items) => Value::List(items.into_iter().map(Value::from).collect()),
            serde_json::Value::Object(map) => Value::Map(map.into_iter().map(|(k, v)| (k, Value::from(v))).collect()),
        }
    }
}

/// What is wrong with an option.
#[derive(Debug, Clone)]
pub struct OptionError {
    /// Outermost last while it travels up; `["size", "[2]", "disks"]`.
    path: Vec<String>,
    message: String,
    hint: Option<String>,
}

impl OptionError {
    pub fn new(message: impl Into<String>) -> OptionError {
        OptionError { path: Vec::new(), message: message.into(), hint: None }
    }

    fn under(mut self, segment: impl Into<String>) -> OptionError {
        self.path.push(segment.into());
        self
    }

    /// Turns it into the error a user reads; `of` is whose options they are: `rimg.qemu`.
    pub fn into_error(self, of: &str) -> Error {
        let mut name = String::new();
        for segment in self.path.iter().rev() {
            if !name.is_empty() && !segment.starts_with('[') {
                name.push('.');
            }
            name.push_str(segment);
        }
        let message = match name.as_str() {
            "" => format!("{of}: {}", self.message),
            name => format!("{of}: option `{name}`: {}", self.message),
        };
        let error = Error::new(Kind::Option, message).field("option", name);
        match self.hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for OptionError {}

impl de::Error for OptionError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        OptionError::new(message.to_string())
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        OptionError::new(format!("expected {expected}, found {}", unexpected(found)))
    }

    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        OptionError::new(format!("expected {expected}, found {}", unexpected(found)))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let mut error = OptionError::new(format!("{variant:?} is not one of {}", expected.join(", ")));
        error.hint = did_you_mean(variant, expected);
        error
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let mut error = OptionError::new("there is no such option");
        error.path.push(field.to_owned());
        error.hint = did_you_mean(field, expected).or_else(|| match expected {
            [] => None,
            names => Some(format!("the options are: {}", names.join(", "))),
        });
        error
    }

    fn missing_field(field: &'static str) -> Self {
        OptionError::new("is required").under(field)
    }
}

fn unexpected(found: de::Unexpected<'_>) -> String {
    match found {
        de::Unexpected::Bool(b) => format!("the boolean {b}"),
        de::Unexpected::Unsigned(n) => format!("the number {n}"),
        de::Unexpected::Signed(n) => format!("the number {n}"),
        de::Unexpected::Float(n) => format!("the number {n}"),
        de::Unexpected::Str(s) => Value::Str(s.to_owned()).describe(),
        de::Unexpected::Seq => "a list".into(),
        de::Unexpected::Map => "a table".into(),
        de::Unexpected::Unit | de::Unexpected::Option => "nil".into(),
        other => other.to_string(),
    }
}

/// Returns `did you mean `x`?` for the nearest of the names, where one is near enough.
pub fn did_you_mean<S: AsRef<str>>(name: &str, names: &[S]) -> Option<String> {
    let nearest = names
        .iter()
        .map(|candidate| candidate.as_ref())
        .map(|candidate| {
            (strsim::damerau_levenshtein(name, candidate), strsim::jaro_winkler(name, candidate), candidate)
        })
        .filter(|(distance, similarity, _)| *distance <= 1 + name.chars().count() / 4 || *similarity > 0.9)
        .max_by(|a, b| b.0.cmp(&a.0).then(a.1.total_cmp(&b.1)))?;
    Some(format!("did you mean `{}`?", nearest.2))
}

/// Decodes an option table; `of` is whose options they are, for the error.
pub fn decode<T: DeserializeOwned>(of: &str, value: Value) -> Result<T, Error> {
    T::deserialize(ValueDeserializer(value)).map_err(|e| e.into_error(of))
}

/// Decodes one option table into two structs: names of `B` go to `B`, all others to `A`. For option groups that many
/// builders share, such as `ssh_…`.
pub fn decode_split<A: DeserializeOwned, B: DeserializeOwned>(of: &str, value: Value) -> Result<(A, B), Error> {
    let entries = match value {
        Value::Map(entries) => entries,
        Value::List(items) if items.is_empty() => Vec::new(),
        other => {
            let message = format!("expected a table of options, found {}", other.describe());
            return Err(OptionError::new(message).into_error(of));
        }
    };
    let (of_a, of_b) = (fields::<A>(), fields::<B>());
    if let Some((name, _)) = entries.iter().find(|(name, _)| ![of_a, of_b].concat().contains(&name.as_str())) {
        let all: Vec<&str> = of_a.iter().chain(of_b).copied().collect();
        let hint = did_you_mean(name, &all).unwrap_or_else(|| format!("the options are: {}", all.join(", ")));
        let error = OptionError { hint: Some(hint), ..OptionError::new("there is no such option").under(name) };
        return Err(error.into_error(of));
    }
    let (for_b, for_a) = entries.into_iter().partition(|(name, _)| of_b.contains(&name.as_str()));
    Ok((decode(of, Value::Map(for_a))?, decode(of, Value::Map(for_b))?))
}

struct ValueDeserializer(Value);

impl ValueDeserializer {
    fn mismatch<'de, V: Visitor<'de>>(self, visitor: &V) -> OptionError {
        let expected: &dyn de::Expected = visitor;
        OptionError::new(format!("expected {expected}, found {}", self.0.describe()))
    }
}

macro_rules! forward {
    ($($method:ident)*) => { $(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, OptionError> {
            self.deserialize_any(visitor)
        }
    )* };
}

macro_rules! integers {
    ($($method:ident)*) => { $(
        /// Lua computes with floats: `512.0` is an integer to an option.
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, OptionError> {
            match self.0 {
                Value::Int(n) => visitor.visit_i64(n),
                #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and in range")]
                Value::Float(n) if n.fract() == 0.0 && n.abs() < 9e15 => visitor.visit_i64(n as i64),
                _ => Err(OptionError::new(format!("expected a whole number, found {}", self.0.describe()))),
            }
        }
    )* };
}

impl<'de> Deserializer<'de> for ValueDeserializer {
    type Error = OptionError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, OptionError> {
        match self.0 {
            Value::Nil => visitor.visit_unit(),
            Value::Bool(b) => visitor.visit_bool(b),
            Value::Int(n) => visitor.visit_i64(n),
            Value::Float(n) => visitor.visit_f64(n),
            Value::Str(s) => visitor.visit_string(s),
            Value::Bytes(b) => visitor.visit_byte_buf(b),
            Value::List(items) => {
                let mut access = ListAccess { items: items.into_iter(), index: 0 };
                visitor.visit_seq(&mut access)
            }
            Value::Map(entries) => visitor.visit_map(MapAccess { entries: entries.into_iter(), pending: None }),
            Value::Other(_) => Err(self.mismatch(&visitor)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, OptionError> {
        match self.0 {
            Value::Nil => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, OptionError> {
        match self.0 {
            // An empty Lua table is a list and a map at once.
            Value::List(items) if items.is_empty() => {
                ValueDeserializer(Value::Map(Vec::new())).deserialize_any(visitor)
            }
            Value::Nil => ValueDeserializer(Value::Map(Vec::new())).deserialize_any(visitor),
            Value::Map(_) => self.deserialize_any(visitor),
            _ => Err(OptionError::new(format!("expected a table of options, found {}", self.0.describe()))),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, OptionError> {
        match self.0 {
            Value::List(items) if items.is_empty() => {
                ValueDeserializer(Value::Map(Vec::new())).deserialize_any(visitor)
            }
            Value::Map(_) => self.deserialize_any(visitor),
            _ => Err(OptionError::new(format!("expected a table of name = value, found {}", self.0.describe()))),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, OptionError> {
        match self.0 {
            Value::Map(entries) if entries.is_empty() => {
                ValueDeserializer(Value::List(Vec::new())).deserialize_any(visitor)
            }
            Value::List(_) => self.deserialize_any(visitor),
            // One where several may stand: `scripts = "a.sh"`.
            Value::Str(_) => ValueDeserializer(Value::List(vec![self.0])).deserialize_any(visitor),
            _ => Err(OptionError::new(format!("expected a list, found {}", self.0.describe()))),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, OptionError> {
        match self.0 {
            Value::Str(name) => visitor.visit_enum(name.into_deserializer()),
            _ => Err(OptionError::new(format!("expected one of {}, found {}", variants.join(", "), self.0.describe()))),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, OptionError> {
        match self.0 {
            Value::Str(s) => visitor.visit_string(s),
            _ => Err(OptionError::new(format!("expected a string, found {}", self.0.describe()))),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, OptionError> {
        self.deserialize_string(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, OptionError> {
        visitor.visit_newtype_struct(self)
    }

    integers! { deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 }
    forward! { deserialize_bool deserialize_f32 deserialize_f64 deserialize_char deserialize_bytes deserialize_byte_buf deserialize_unit deserialize_identifier deserialize_ignored_any }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, OptionError> {
        self.deserialize_any(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, OptionError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, OptionError> {
        self.deserialize_seq(visitor)
    }
}

struct ListAccess {
    items: std::vec::IntoIter<Value>,
    index: usize,
}

impl<'de> de::SeqAccess<'de> for &mut ListAccess {
    type Error = OptionError;

    fn next_element_seed<T: de::DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, OptionError> {
        let Some(item) = self.items.next() else { return Ok(None) };
        self.index += 1;
        seed.deserialize(ValueDeserializer(item)).map(Some).map_err(|e| e.under(format!("[{}]", self.index)))
    }
}

struct MapAccess {
    entries: std::vec::IntoIter<(String, Value)>,
    pending: Option<(String, Value)>,
}

impl<'de> de::MapAccess<'de> for MapAccess {
    type Error = OptionError;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, OptionError> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        let decoded = seed.deserialize(key.as_str().into_deserializer())?;
        self.pending = Some((key, value));
        Ok(Some(decoded))
    }

    fn next_value_seed<V: de::DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, OptionError> {
        let (key, value) = self.pending.take().ok_or_else(|| OptionError::new("a value without a name"))?;
        seed.deserialize(ValueDeserializer(value)).map_err(|e| e.under(key))
    }
}

/// A duration as users write it: `30` (seconds), `1.5`, `"20m"`, `"1h30m"`, `"250ms"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seconds(pub Duration);

impl Seconds {
    /// Parses Go's duration notation, which Packer's users write: numbers with `ms`, `s`, `m`, `h` or `d`.
    pub fn parse(text: &str) -> Option<Seconds> {
        let mut rest = text.trim();
        if rest.is_empty() {
            return None;
        }
        if let Ok(seconds) = rest.parse::<f64>() {
            return Duration::try_from_secs_f64(seconds).ok().map(Seconds);
        }
        let mut total = Duration::ZERO;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
            let (number, tail) = rest.split_at_checked(digits)?;
            let unit_end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at_checked(unit_end)?;
            let factor = match unit {
                "us" => 1e-6,
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
        Some(Seconds(total))
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
                Ok(Seconds(Duration::from_secs(n)))
            }
            fn visit_u64<E: de::Error>(self, n: u64) -> Result<Seconds, E> {
                Ok(Seconds(Duration::from_secs(n)))
            }
            fn visit_f64<E: de::Error>(self, n: f64) -> Result<Seconds, E> {
                let duration =
                    Duration::try_from_secs_f64(n).map_err(|_| E::invalid_value(de::Unexpected::Float(n), &self))?;
                Ok(Seconds(duration))
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

/// Returns the names of a struct's options, in their order, by asking its `Deserialize` for them.
pub fn fields<T: DeserializeOwned>() -> &'static [&'static str] {
    struct Probe<'a>(&'a mut &'static [&'static str]);
    impl<'de> Deserializer<'de> for Probe<'_> {
        type Error = OptionError;
        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, OptionError> {
            Err(OptionError::new("not a struct"))
        }
        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, OptionError> {
            *self.0 = fields;
            Err(OptionError::new("only probing"))
        }
        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
            newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }
    let mut fields: &'static [&'static str] = &[];
    let _ = T::deserialize(Probe(&mut fields));
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Disk {
        size: Option<Bytes>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Options {
        ssh_timeout: Option<Seconds>,
        cpus: Option<u32>,
        disks: Vec<Disk>,
        scripts: Vec<String>,
    }

    fn map(entries: &[(&str, Value)]) -> Value {
        Value::Map(entries.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect())
    }

    fn error(value: Value) -> (String, Vec<String>) {
        let error = decode::<Options>("rimg.x", value).unwrap_err();
        (error.message().to_owned(), error.hints().to_vec())
    }

    #[test]
    fn names_the_option_and_the_nearest_one() {
        let (message, hints) = error(map(&[("ssh_timout", Value::Int(3))]));
        assert_eq!(message, "rimg.x: option `ssh_timout`: there is no such option");
        assert_eq!(hints, ["did you mean `ssh_timeout`?"]);
    }

    #[test]
    fn names_the_full_path_and_what_was_found() {
        let disks = Value::List(vec![map(&[]), map(&[("size", Value::Bool(true))])]);
        let (message, _) = error(map(&[("disks", disks)]));
        assert_eq!(
            message,
            "rimg.x: option `disks[2].size`: expected a size such as \"10G\" or 512 (mebibytes), found the boolean true"
        );
        let (message, _) = error(map(&[("cpus", Value::Str("two".into()))]));
        assert_eq!(message, "rimg.x: option `cpus`: expected a whole number, found the string \"two\"");
        let (message, _) = error(map(&[("scripts", Value::Other("function"))]));
        assert_eq!(message, "rimg.x: option `scripts`: expected a list, found a function");
    }

    #[test]
    fn a_split_table_still_knows_every_name() {
        let both = map(&[("size", Value::Int(1)), ("cpus", Value::Int(2))]);
        let (options, disk): (Options, Disk) = decode_split("x", both).unwrap();
        assert_eq!((options.cpus, disk.size), (Some(2), Some(Bytes(1 << 20))));
        let error = decode_split::<Options, Disk>("x", map(&[("sise", Value::Nil)])).unwrap_err();
        assert_eq!(error.hints(), ["did you mean `size`?"]);
    }

    #[test]
    fn takes_what_users_write() {
        let options: Options = decode(
            "x",
            map(&[
                ("ssh_timeout", Value::Str("1h30m".into())),
                ("cpus", Value::Float(4.0)),
                ("scripts", Value::Str("a.sh".into())),
                ("disks", Value::List(vec![map(&[("size", Value::Int(512))])])),
            ]),
        )
        .unwrap();
        assert_eq!(options.ssh_timeout, Some(Seconds(Duration::from_secs(5400))));
        assert_eq!(options.cpus, Some(4));
        assert_eq!(options.scripts, ["a.sh"]);
        assert_eq!(options.disks[0].size, Some(Bytes(512 << 20)));
        assert_eq!(fields::<Options>(), ["ssh_timeout", "cpus", "disks", "scripts"]);
    }

    proptest! {
        #[test]
        fn parsers_never_panic(text in "\\PC{0,20}") {
            let _ = Seconds::parse(&text);
            let _ = Bytes::parse(&text);
        }

        #[test]
        fn durations_round_trip(h in 0u64..100, m in 0u64..60, s in 0u64..60) {
            let parsed = Seconds::parse(&format!("{h}h{m}m{s}s")).unwrap();
            prop_assert_eq!(parsed.0.as_secs(), h * 3600 + m * 60 + s);
        }
    }
}
