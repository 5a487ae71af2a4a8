//! Serde's view of an option table.

use serde::de::{self, Deserializer, IntoDeserializer, Visitor};

use super::{OptionError, Value, any};

/// Gives a value to a struct's `Deserialize`, as lenient as Lua's users are: a whole float is an integer, one string is
/// a list of one, an empty table is a list or a map.
pub(super) struct ValueDeserializer(pub(super) Value);

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
            Value::Function(_) | Value::Other(_) => Err(self.mismatch(&visitor)),
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

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, OptionError> {
        if name == any::NAME {
            any::hand_over(self.0);
            return visitor.visit_unit();
        }
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
