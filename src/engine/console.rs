//! A machine's console: keys in, the screen and the serial line out.

use std::path::Path;
use std::sync::atomic::AtomicU64;

use async_trait::async_trait;

use crate::error::Result;

/// A key by its place on the keyboard: its usage on the keyboard page of the USB HID usage tables (section 10), where
/// 0x04 is what a US keyboard calls A, 0x28 is enter, and 0xe0 to 0xe7 are the modifiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub u8);

/// A key that goes down or comes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyEvent {
    pub key: Key,
    pub down: bool,
}

/// What a screen shows as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScreenText {
    /// Rows from top to bottom, without the spaces at their ends. A cell that is no known character is U+FFFD.
    pub rows: Vec<String>,
}

impl ScreenText {
    /// Returns the rows as lines, without empty ones at the end.
    pub fn text(&self) -> String {
        let used = self.rows.iter().rposition(|row| !row.is_empty()).map_or(0, |last| last + 1);
        self.rows.iter().take(used).map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

/// A machine's keyboard, screen and serial line. Calls may run side by side, but keys of two callers would mix.
#[async_trait]
pub trait Console: Send + Sync {
    /// Sends key events in order, at the pace at which the guest takes them, so that none is lost; returns when the last
    /// one is with the guest.
    async fn press(&self, events: &[KeyEvent]) -> Result<()>;

    /// Returns the layout of the keyboard that the guest believes it has, where the machine's options name one.
    fn keyboard_layout(&self) -> Option<&str> {
        None
    }

    /// Writes a PNG picture of the screen, whole or not at all.
    async fn screenshot(&self, to: &Path) -> Result<()>;

    /// Reads the text on the screen, in text mode or painted with a known console font.
    async fn screen_text(&self) -> Result<ScreenText>;

    /// Returns what the machine wrote to its serial console since `from` (bytes since its start) or the next part of it, and
    /// the offset behind it, to go on from. A machine that was started over begins anew: then the bytes are its first.
    fn serial_since(&self, from: u64) -> Result<(Vec<u8>, u64)>;

    /// Returns the offset in the serial console's bytes up to which expectations have used them up.
    fn serial_seen(&self) -> &AtomicU64;

    /// Returns the last lines of the serial console, oldest first.
    fn serial_tail(&self, lines: usize) -> Vec<String>;
}
