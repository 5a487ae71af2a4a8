//! What is said when the text does not appear.

use std::time::Duration;

use super::expectation::{Expectation, Expected, Place};
use crate::engine::{BuildCx, Console, picture};
use crate::error::{Error, Kind};

/// How long the last look at the screen may take.
const LOOK_LIMIT: Duration = Duration::from_secs(5);
const SERIAL_LINES: usize = 8;

/// Makes the error of a wait that a pattern of failure ended.
pub async fn failed(console: &dyn Console, expectation: &Expectation, seen: &Expected, cx: &BuildCx) -> Error {
    let found = seen.matched.trim();
    let message = format!("{found:?} appeared while {} was waited for", expectation.title());
    shown(console, Kind::Machine, message, cx).await
}

/// Makes the error of a wait that is over: what is there instead, as text and as a picture.
pub async fn not_seen(console: &dyn Console, expectation: &Expectation, trouble: Option<Error>, cx: &BuildCx) -> Error {
    let place = match expectation.place {
        Place::Screen => "on the screen",
        Place::Serial => "on the serial console",
        Place::Any => "on the screen or the serial console",
    };
    let seconds = expectation.timeout.as_secs_f64();
    let message = format!("{} did not appear {place} within {seconds} s", expectation.title());
    let error = shown(console, Kind::Timeout, message, cx).await;
    let error = error.hint("a longer `timeout`, or another pattern: `vm:screen_text()` is what is looked at");
    match trouble {
        Some(trouble) => error.caused_by(trouble),
        None => error,
    }
}

/// Makes an error with what the machine shows, as text and as a picture.
async fn shown(console: &dyn Console, kind: Kind, mut message: String, cx: &BuildCx) -> Error {
    let shown = match tokio::time::timeout(LOOK_LIMIT, console.screen_text()).await {
        Ok(Ok(shown)) => shown.text(),
        _ => String::new(),
    };
    if !shown.is_empty() {
        message.push_str("\nthe screen shows:");
        indent(&mut message, shown.lines());
    }
    let lines = console.serial_tail(SERIAL_LINES);
    if !lines.is_empty() {
        message.push_str("\nthe last console lines:");
        indent(&mut message, lines.iter().map(String::as_str));
    }
    let path = picture::path(cx);
    match tokio::time::timeout(LOOK_LIMIT, console.screenshot(&path)).await {
        Ok(Ok(())) => message.push_str(&format!("\nthe screen: {}", path.display())),
        Ok(Err(error)) => tracing::debug!(%error, "no picture of the screen"),
        Err(_) => tracing::debug!("no picture of the screen in time"),
    }
    Error::new(kind, message).field("screen", shown).field("serial", lines.join("\n"))
}

fn indent<'l>(message: &mut String, lines: impl Iterator<Item = &'l str>) {
    for line in lines {
        message.push_str("\n    ");
        message.push_str(line);
    }
}
