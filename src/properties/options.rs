//! Option tables, and the values that users write in them.

use std::time::Duration;

use super::source::Source;
use crate::builder::qemu;
use crate::engine::{Bytes, Seconds, Value};
use crate::error::Kind;

/// Any table is decoded or refused with an error that says whose options they are; sizes and durations that were written
/// are read.
pub(super) fn holds(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _ = (Bytes::parse(&text), Seconds::parse(&text));
    if let Ok(json) = serde_json::from_slice::<serde_json::Value>(data) {
        decode(Value::from(json));
    }
    let mut source = Source::new(data);
    let seconds = source.number() % 100_000_000;
    let (days, hours, rest) = (seconds / 86_400, seconds / 3600 % 24, seconds % 3600);
    let parsed = Seconds::parse(&format!("{days}d{hours}h{}m{}s", rest / 60, rest % 60));
    assert_eq!(parsed, Some(Seconds(Duration::from_secs(seconds))));
    let kibibytes = source.number() >> 11;
    assert_eq!(Bytes::parse(&format!("{kibibytes} KiB")), Some(Bytes(kibibytes << 10)));
    decode(table(&mut source, 0));
}

fn decode(value: Value) {
    if let Err(error) = qemu::decode(value) {
        assert_eq!(error.kind(), Kind::Option, "{error}");
        assert!(error.message().starts_with("rimg.qemu: "), "{error}");
    }
}

fn table(source: &mut Source<'_>, depth: usize) -> Value {
    let names = qemu::field_names();
    let inner = ["type", "wait", "expect", "timeout", "size", "host", "screenshot", "x"];
    let entries = (0..source.below(if depth == 0 { 3 } else { 4 })).map(|_| {
        let name = if depth == 0 || source.flag() { source.pick(names) } else { source.pick(&inner) };
        let name =
            if source.below(16) == 15 { format!("{name}{}", source.text(&["s", "_", "é"], 3)) } else { name.into() };
        (name, value(source, depth + 1))
    });
    Value::Map(entries.collect())
}

fn value(source: &mut Source<'_>, depth: usize) -> Value {
    let words = [
        "",
        "10s",
        "20G",
        "-1s",
        "a.iso",
        "<enter>",
        "us",
        "{{ .Name }}",
        "8000",
        "none",
        "1.5",
        "tcg",
        "sha256:",
        "\0",
    ];
    match source.below(if depth > 4 { 8 } else { 10 }) {
        0 => Value::Str(source.pick(&words).into()),
        1 => Value::Int(i64::from(source.byte())),
        2 => Value::Int(source.number().cast_signed()),
        3 => Value::Float(f64::from_bits(source.number())),
        4 => Value::Bool(source.flag()),
        5 => Value::Nil,
        6 => Value::Bytes(source.bytes(8).to_vec()),
        7 => Value::Other("thread"),
        8 => Value::List((0..source.below(4)).map(|_| value(source, depth + 1)).collect()),
        _ => table(source, depth),
    }
}
