//! Values of any type.

use std::cell::RefCell;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

use super::Value;

/// Any value, kept as it is; functions too.
#[derive(Debug, Clone, PartialEq)]
pub struct Any(pub Value);

/// The newtype name by which [`Any`] asks the deserializer for the value itself.
pub(super) const NAME: &str = "$rimg::Any";

thread_local! {
    /// Serde has no form for a function, so the value goes past it, within one call.
    static HANDED: RefCell<Option<Value>> = const { RefCell::new(None) };
}

/// Leaves a value for the [`Any`] that asked for it.
pub(super) fn hand_over(value: Value) {
    HANDED.with_borrow_mut(|handed| *handed = Some(value));
}

impl<'de> Deserialize<'de> for Any {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Any, D::Error> {
        struct V;
        impl Visitor<'_> for V {
            type Value = Any;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an option's value")
            }
            fn visit_unit<E: Error>(self) -> Result<Any, E> {
                let handed = HANDED.with_borrow_mut(Option::take);
                handed.map(Any).ok_or_else(|| E::custom("only an option table can be decoded to this"))
            }
        }
        deserializer.deserialize_newtype_struct(NAME, V)
    }
}
