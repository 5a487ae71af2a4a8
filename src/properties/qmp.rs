//! QEMU's machine protocol.

use futures_util::FutureExt;
use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt, BufReader};

use super::source::Source;
use crate::builder::qemu::qmp::{Event, Line, Qmp, parse, read_line};

/// What is written is read, it does not matter where the bytes are cut, and whatever a QEMU says before it goes, the
/// client ends.
pub(super) fn holds(data: &[u8]) {
    let whole: Vec<Line> = data.split_inclusive(|byte| *byte == b'\n').map(parse).collect();
    for capacity in [1, 2, 7] {
        let mut reader = BufReader::with_capacity(capacity, data);
        let mut lines = Vec::new();
        while let Some(line) = read_line(&mut reader).now_or_never().unwrap().unwrap() {
            lines.push(parse(&line));
        }
        assert_eq!(lines, whole);
    }
    let mut source = Source::new(data);
    let mut said = b"{\"QMP\": {}}\n".to_vec();
    while !source.is_empty() {
        let (message, meant) = message(&mut source);
        let line = message.to_string();
        assert_eq!(parse(line.as_bytes()), meant, "{line}");
        let mut line = line.into_bytes();
        if source.below(8) == 7 {
            line.truncate(source.below(line.len()));
        }
        said.extend(line);
        said.extend_from_slice(source.pick(&["\n", "\r\n", "\n\n", "\0"]).as_bytes());
    }
    said.extend_from_slice(data);
    survives(&said);
}

fn message(source: &mut Source<'_>) -> (Value, Line) {
    let id = source.below(4) as u64;
    let data = value(source, 0);
    match source.below(3) {
        0 => (json!({ "return": data, "id": id }), Line::Answer(id, Ok(data))),
        1 => {
            let text = source.text(&["a", "\"", "\n", "é", "\\"], 4);
            (json!({ "id": id, "error": { "class": "GenericError", "desc": text } }), Line::Answer(id, Err(text)))
        }
        _ => {
            let name = source.text(&["STOP", "RESET", "_", "x"], 2);
            let event = json!({ "event": name, "data": data, "timestamp": { "seconds": 1, "microseconds": 2 } });
            (event, Line::Event(Event { name, data }))
        }
    }
}

fn value(source: &mut Source<'_>, depth: usize) -> Value {
    match source.below(if depth > 3 { 4 } else { 6 }) {
        0 => Value::Null,
        1 => Value::Bool(source.flag()),
        2 => json!(source.number()),
        3 => json!(source.text(&["status", "\n", "\u{0}", "é", "\""], 3)),
        4 => Value::Array((0..source.below(3)).map(|_| value(source, depth + 1)).collect()),
        _ => json!({ "status": value(source, depth + 1) }),
    }
}

/// Lets a client talk to a peer that says `said` and hangs up.
fn survives(said: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let (ours, mut theirs) = tokio::io::duplex(said.len() + 4096);
        theirs.write_all(said).await.unwrap();
        theirs.shutdown().await.unwrap();
        if let Ok((qmp, _events)) = Qmp::open(ours).await {
            let _ = qmp.status().await;
        }
    });
}
