//! Decoding of an option table into structs.

use serde::de::DeserializeOwned;

use super::Value;
use super::deserializer::ValueDeserializer;
use crate::error::Error;

/// Decodes an option table; `of` is whose options they are, for the error.
pub fn decode<T: DeserializeOwned>(of: &str, value: Value) -> Result<T, Error> {
    T::deserialize(ValueDeserializer(value)).map_err(|e| e.into_error(of))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde::Deserialize;

    use super::*;
    use crate::engine::options::{Bytes, Seconds, fields};

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
        let (message, _) = error(map(&[("scripts", Value::Other("thread"))]));
        assert_eq!(message, "rimg.x: option `scripts`: expected a list, found a thread");
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
}
