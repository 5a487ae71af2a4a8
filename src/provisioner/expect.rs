//! `vm:expect`, `vm:screen_text` and `vm:serial`: what a machine shows.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::attempt::context;
use crate::console::{
    self,
    expect::{self, ExpectOptions, Expectation, Expected, plain_text},
};
use crate::engine::{Answer, Operation, Session};
use crate::error::Result;

/// The most of the serial console's text that is given back: its end.
const SERIAL_LIMIT: u64 = 4 << 20;

/// Waits until one of the patterns appears on the machine's screen or serial console.
pub async fn expect(session: &Arc<Session>, patterns: &[String], options: &ExpectOptions) -> Result<Expected> {
    let expectation = Expectation::new(patterns, options).map_err(|e| e.within("vm:expect"))?;
    let request = serde_json::json!({ "patterns": patterns, "options": options });
    let operation = Operation::new("expect", patterns.join(" | "), request).limits_itself();
    let expectation = Arc::new(expectation);
    session
        .perform(operation, move |session| {
            let expectation = expectation.clone();
            async move { expect::expect(console::of(&*session.live()?)?, &expectation, &context(&session)).await }
        })
        .await
}

/// Returns the text on the machine's screen.
pub async fn screen_text(session: &Arc<Session>) -> Result<String> {
    let operation = Operation::new("screen_text", "", serde_json::Value::Null).only_reads();
    let read = |session: Arc<Session>| async move {
        let machine = session.live()?;
        Ok(Text(console::of(&*machine)?.screen_text().await?.text()))
    };
    Ok(session.perform(operation, read).await?.0)
}

/// Returns what the machine has written to its serial console, without escape sequences.
pub async fn serial(session: &Arc<Session>) -> Result<String> {
    let operation = Operation::new("serial", "", serde_json::Value::Null).only_reads();
    let read = |session: Arc<Session>| async move {
        let machine = session.live()?;
        let console = console::of(&*machine)?;
        let (mut bytes, mut offset) = (Vec::new(), 0);
        loop {
            let (piece, next) = console.serial_since(offset)?;
            if piece.is_empty() {
                return Ok(Text(plain_text(&bytes)));
            }
            if next != offset + piece.len() as u64 {
                bytes.clear();
            }
            bytes.extend_from_slice(&piece);
            let excess = bytes.len().saturating_sub(SERIAL_LIMIT as usize);
            bytes.drain(..excess);
            offset = next;
        }
    };
    Ok(session.perform(operation, read).await?.0)
}

/// Text as an operation's result.
#[derive(Serialize, Deserialize)]
struct Text(String);

impl Answer for Text {
    fn done(_: &Operation) -> Self {
        Text(String::new())
    }
}

impl Answer for Expected {
    fn done(operation: &Operation) -> Self {
        let ask = |name: &str| operation.request.get(name).cloned().unwrap_or_default();
        let patterns: Vec<String> = serde_json::from_value(ask("patterns")).unwrap_or_default();
        let options = serde_json::from_value(ask("options")).unwrap_or_default();
        Expectation::new(&patterns, &options).map(|e| e.pretended()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use crate::provisioner::testing::Bench;

    #[tokio::test]
    async fn a_pretended_machine_shows_what_is_expected() {
        let bench = Bench::pretended();
        let expected = expect(&bench.session, &["(\\w+) login:".into()], &ExpectOptions::default()).await.unwrap();
        assert_eq!((expected.index, expected.captures.as_slice()), (1, [String::new()].as_slice()));
        assert_eq!(screen_text(&bench.session).await.unwrap(), "");
        assert_eq!(serial(&bench.session).await.unwrap(), "");
        let error = expect(&bench.session, &["(".into()], &ExpectOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Option);
        assert!(error.message().starts_with("vm:expect: the pattern \"(\" is no regular expression"), "{error}");
    }

    #[tokio::test]
    async fn a_machine_without_a_console_says_so() {
        let bench = Bench::new();
        let error = screen_text(&bench.session).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported);
        assert!(error.message().contains("has no console"), "{error}");
    }
}
