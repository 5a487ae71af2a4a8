//! Short forms: an option that is so much the main one that its name may be left out.

use serde::de::DeserializeOwned;

use super::{Value, decode};
use crate::error::Result;

/// Names the option that a short form leaves out: a text, a list, or the positional entries of a table
/// (`{ "echo hi", sudo = true }`) belong to `name`.
pub fn long_form(value: Value, name: &str) -> Value {
    match value {
        Value::Str(_) | Value::Bytes(_) => Value::Map(vec![(name.to_owned(), value)]),
        Value::List(items) if items.is_empty() => Value::Map(Vec::new()),
        Value::List(_) => Value::Map(vec![(name.to_owned(), value)]),
        Value::Map(entries) => {
            let is_positional = |(key, _): &(String, Value)| key.parse::<u32>().is_ok();
            let (items, mut named): (Vec<_>, Vec<_>) = entries.into_iter().partition(is_positional);
            if !items.is_empty() {
                named.push((name.to_owned(), Value::List(items.into_iter().map(|(_, item)| item).collect())));
            }
            Value::Map(named)
        }
        other => other,
    }
}

/// Decodes a table of options, or what stands for its option `name` alone.
pub fn decode_short<T: DeserializeOwned>(of: &str, value: Value, name: &str) -> Result<T> {
    decode(of, long_form(value, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_named() {
        let text = |text: &str| Value::Str(text.into());
        let map = |entries: &[(&str, Value)]| {
            Value::Map(entries.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
        };
        assert_eq!(long_form(text("a"), "x"), map(&[("x", text("a"))]));
        assert_eq!(long_form(Value::List(vec![text("a")]), "x"), map(&[("x", Value::List(vec![text("a")]))]));
        assert_eq!(long_form(Value::List(vec![]), "x"), map(&[]));
        let mixed = map(&[("1", text("a")), ("sudo", Value::Bool(true)), ("2", text("b"))]);
        let expected = map(&[("sudo", Value::Bool(true)), ("x", Value::List(vec![text("a"), text("b")]))]);
        assert_eq!(long_form(mixed, "x"), expected);
        assert_eq!(long_form(Value::Int(3), "x"), Value::Int(3));
    }
}
