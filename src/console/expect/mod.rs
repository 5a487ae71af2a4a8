//! Waiting for text on the serial console or the screen.

mod error;
mod expectation;
pub mod serial;
mod wait;

pub use expectation::{ExpectOptions, Expectation, Expected, Place, ScreenOrSerial};
pub use serial::plain_text;
pub use wait::expect;
