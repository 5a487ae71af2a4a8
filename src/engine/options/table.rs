//! One option table for several structs: a builder's own options, and the groups that builders share.

use serde::de::DeserializeOwned;

use super::{OptionError, Value, decode, did_you_mean, fields};
use crate::error::Result;

/// An option table that is decoded in parts: each [`take`](Self::take) decodes the names of one struct, the
/// [`rest`](Self::rest) belongs to the last, and a name that none of them has is an error that knows them all.
pub struct OptionTable<'a> {
    of: &'a str,
    entries: Vec<(String, Value)>,
    names: Vec<&'static str>,
}

impl<'a> OptionTable<'a> {
    /// Begins with a script's table; `of` is whose options they are, for errors: `rimg.qemu`.
    pub fn new(of: &'a str, value: Value) -> Result<OptionTable<'a>> {
        let entries = match value {
            Value::Map(entries) => entries,
            Value::List(items) if items.is_empty() => Vec::new(),
            other => {
                let message = format!("expected a table of options, found {}", other.describe());
                return Err(OptionError::new(message).into_error(of));
            }
        };
        Ok(OptionTable { of, entries, names: Vec::new() })
    }

    /// Decodes the options that belong to `T`.
    pub fn take<T: DeserializeOwned>(&mut self) -> Result<T> {
        let names = fields::<T>();
        self.names.extend(names);
        let (own, others) =
            std::mem::take(&mut self.entries).into_iter().partition(|(name, _)| names.contains(&name.as_str()));
        self.entries = others;
        decode(self.of, Value::Map(own))
    }

    /// Decodes what is left.
    pub fn rest<T: DeserializeOwned>(mut self) -> Result<T> {
        let own = fields::<T>();
        if let Some((name, _)) = self.entries.iter().find(|(name, _)| !own.contains(&name.as_str())) {
            self.names.retain(|name| !own.contains(name));
            self.names.splice(0..0, own.iter().copied());
            let hint = did_you_mean(name, &self.names)
                .unwrap_or_else(|| format!("the options are: {}", self.names.join(", ")));
            let error = OptionError::new("there is no such option").under(name).hint(hint);
            return Err(error.into_error(self.of));
        }
        decode(self.of, Value::Map(self.entries))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::engine::options::Bytes;

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Disk {
        size: Option<Bytes>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Options {
        cpus: Option<u32>,
    }

    fn decoded(entries: &[(&str, Value)]) -> Result<(Options, Disk)> {
        let map = Value::Map(entries.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect());
        let mut table = OptionTable::new("x", map)?;
        let disk = table.take()?;
        Ok((table.rest()?, disk))
    }

    #[test]
    fn a_table_in_parts_still_knows_every_name() {
        let (options, disk) = decoded(&[("size", Value::Int(1)), ("cpus", Value::Int(2))]).unwrap();
        assert_eq!((options.cpus, disk.size), (Some(2), Some(Bytes(1 << 20))));
        assert_eq!(decoded(&[("sise", Value::Nil)]).unwrap_err().hints(), ["did you mean `size`?"]);
        assert_eq!(decoded(&[("xyzzy", Value::Nil)]).unwrap_err().hints(), ["the options are: cpus, size"]);
        let error = OptionTable::new("x", Value::Int(1)).err().unwrap();
        assert_eq!(error.message(), "x: expected a table of options, found the number 1");
    }
}
