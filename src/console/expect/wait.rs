//! The wait itself: one loop over serial console and screen.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::error;
use super::expectation::{Expectation, Expected, ScreenOrSerial};
use super::serial::Follower;
use crate::engine::{BuildCx, Console, ScreenText};
use crate::error::{Error, Kind, Result};
use crate::ui::event::Unit;

/// How often the serial console is looked at: reading a file's end costs nothing.
const TICK: Duration = Duration::from_millis(50);
/// How long the screen is left alone between two looks, while it changes and once it stands still.
const SCREEN_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(400));
const MOST_PIECES: usize = 16;
/// A look takes the guest's processor away for as long as it lasts: at most this part of the time.
const SCREEN_SHARE: u32 = 10;
/// A host that has other work to do must not make rimg miss what is shown for a moment.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Waits until one of the patterns appears. On the serial console the search goes on behind the last match, so that two
/// equal prompts in a row are two matches; on the screen it is what is there now that counts.
pub async fn expect(console: &dyn Console, expectation: &Expectation, cx: &BuildCx) -> Result<Expected> {
    let title = expectation.title();
    let _progress = cx.ui.progress(format!("waiting for {title}"), None, Unit::Spinner);
    let deadline = Instant::now() + expectation.timeout;
    let mut serial = expectation.looks_at(ScreenOrSerial::Serial).then(|| Serial::new(console, expectation));
    let mut screen = expectation.looks_at(ScreenOrSerial::Screen).then(Screen::new);
    loop {
        if let Some(watched) = &mut serial {
            match watched.look(console, expectation) {
                Ok(Some(expected)) => return judge(console, expectation, expected, cx).await,
                Ok(None) => {}
                Err(error) if error.kind() == Kind::Unsupported && screen.is_some() => serial = None,
                Err(error) => watched.trouble = still_possible(error)?,
            }
        }
        if let Some(watched) = &mut screen
            && watched.next <= Instant::now()
        {
            match watched.look(console, expectation).await {
                Ok(Some(expected)) => return judge(console, expectation, expected, cx).await,
                Ok(None) => watched.trouble = None,
                Err(error) if error.kind() == Kind::Unsupported && serial.is_some() => screen = None,
                Err(error) => watched.trouble = still_possible(error)?,
            }
        }
        let now = Instant::now();
        if now >= deadline {
            let trouble = screen.as_ref().and_then(|s| s.trouble.clone());
            let trouble = trouble.or_else(|| serial.as_ref().and_then(|s| s.trouble.clone()));
            return Err(error::not_seen(console, expectation, trouble, cx).await);
        }
        tokio::time::sleep(TICK.min(deadline - now)).await;
    }
}

/// Returns what appeared, or the error that it stands for.
async fn judge(console: &dyn Console, expectation: &Expectation, expected: Expected, cx: &BuildCx) -> Result<Expected> {
    match expectation.is_failure(&expected) {
        true => Err(error::failed(console, expectation, &expected, cx).await),
        false => Ok(expected),
    }
}

/// Ends the wait for what will never be there; anything else may be over in a moment, as while a machine starts.
fn still_possible(error: Error) -> Result<Option<Error>> {
    if error.kind() == Kind::Unsupported { Err(error) } else { Ok(Some(error)) }
}

struct Serial {
    follower: Follower,
    trouble: Option<Error>,
}

impl Serial {
    fn new(console: &dyn Console, expectation: &Expectation) -> Serial {
        let from = if expectation.from_start { 0 } else { console.serial_seen().load(Ordering::Acquire) };
        Serial { follower: Follower::new(from), trouble: None }
    }

    /// Takes in what is new; a match moves the console's mark behind itself.
    fn look(&mut self, console: &dyn Console, expectation: &Expectation) -> Result<Option<Expected>> {
        // A guest that floods the line must not keep the screen from being looked at.
        for _ in 0..MOST_PIECES {
            let from = self.follower.offset();
            let (bytes, next) = console.serial_since(from)?;
            if next != from + bytes.len() as u64 {
                // The machine was started over, and its serial console with it.
                self.follower = Follower::new(next - bytes.len() as u64);
            }
            if bytes.is_empty() {
                return Ok(None);
            }
            self.follower.feed(&bytes);
            if let Some((expected, end)) = expectation.find(self.follower.text(), ScreenOrSerial::Serial) {
                console.serial_seen().store(self.follower.offset_of(end), Ordering::Release);
                return Ok(Some(expected));
            }
        }
        Ok(None)
    }
}

struct Screen {
    /// When to look again.
    next: Instant,
    pause: Duration,
    last: Option<ScreenText>,
    trouble: Option<Error>,
}

impl Screen {
    fn new() -> Screen {
        Screen { next: Instant::now(), pause: SCREEN_PAUSE.0, last: None, trouble: None }
    }

    async fn look(&mut self, console: &dyn Console, expectation: &Expectation) -> Result<Option<Expected>> {
        let started = Instant::now();
        let shown = console.screen_text().await;
        let took = started.elapsed();
        let shown = match shown {
            Ok(shown) => Some(shown),
            Err(error) => {
                self.next = Instant::now() + SCREEN_PAUSE.1;
                return Err(error);
            }
        };
        if shown == self.last {
            self.pause = (self.pause * 5 / 4).min(SCREEN_PAUSE.1);
        } else {
            self.pause = SCREEN_PAUSE.0;
            self.last = shown;
            if let Some(shown) = &self.last
                && let Some((expected, _)) = expectation.find(&shown.text(), ScreenOrSerial::Screen)
            {
                return Ok(Some(expected));
            }
        }
        self.next = Instant::now() + self.pause.max(took.saturating_mul(SCREEN_SHARE).min(LONGEST_PAUSE));
        Ok(None)
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
