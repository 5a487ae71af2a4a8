//! Types text on a console.

use std::time::Duration;

use super::grammar::{Mistake, parse};
use super::layout::Layout;
use super::strokes::{Action, Hands};
use crate::engine::{Console, KeyEvent};
use crate::error::{Error, Kind, Result};

/// What a typist needs to know of the keyboard.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    /// How long to wait after each key that goes down or comes up; none leaves the pace to the console.
    pub key_interval: Option<Duration>,
    /// How long to wait after keys that came without a wait in between.
    pub group_interval: Option<Duration>,
}

/// Types on one console, one text after the other.
pub struct Typist<'a> {
    console: &'a dyn Console,
    pace: Pace,
    hands: Hands,
}

impl<'a> Typist<'a> {
    /// Makes a typist whose hands are empty.
    pub fn new(console: &'a dyn Console, pace: Pace) -> Typist<'a> {
        Typist { console, pace, hands: Hands::default() }
    }

    /// Types `text`, in a boot command's notation, on a keyboard of a layout (`us`).
    pub async fn type_text(&mut self, text: &str, layout: &str) -> Result<()> {
        let actions = self.hands.type_text(text, &Layout::named(layout)?).map_err(error)?;
        let mut group = Vec::new();
        for action in actions {
            match action {
                Action::Keys(events) => group.extend(events),
                Action::Wait(duration) => {
                    self.press(std::mem::take(&mut group)).await?;
                    tokio::time::sleep(duration).await;
                }
            }
        }
        self.press(group).await
    }

    /// Returns the names of the keys that are still pressed.
    pub fn held(&self) -> Vec<String> {
        self.hands.held()
    }

    async fn press(&self, events: Vec<KeyEvent>) -> Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        match self.pace.key_interval {
            None => self.console.press(&events).await?,
            Some(interval) => {
                for event in events {
                    self.console.press(&[event]).await?;
                    tokio::time::sleep(interval).await;
                }
            }
        }
        if let Some(interval) = self.pace.group_interval {
            tokio::time::sleep(interval).await;
        }
        Ok(())
    }
}

/// Checks a text before anything is typed; without a layout, its notation alone.
pub fn check(text: &str, layout: Option<&str>) -> Result<()> {
    match layout {
        Some(layout) => Hands::default().type_text(text, &Layout::named(layout)?).map(drop),
        None => parse(text).map(drop),
    }
    .map_err(error)
}

/// Makes the error that a user reads.
fn error(mistake: Mistake) -> Error {
    Error::new(Kind::Option, format!("column {}: {}", mistake.column, mistake.message)).hint(mistake.hint)
}
