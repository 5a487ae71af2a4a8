//! What a person sees: events, and the renderers that show them.

pub mod error_text;
pub mod event;
pub mod handle;
pub mod json;
pub mod lines;
pub mod logfile;
pub mod plain;
pub mod progress;
pub mod prompt;
pub mod secrets;
pub mod spellings;
pub mod style;
pub mod summary;
pub mod terminal;
pub mod text;
pub mod units;

#[cfg(test)]
mod testing;

pub use event::{Event, Level, Stamped, Stream};
pub use handle::{Progress, Renderer, Ui, UiThread};
