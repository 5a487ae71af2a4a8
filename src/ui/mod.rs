//! What a person sees: events, and the renderers that show them.

pub mod event;
pub mod handle;
pub mod secrets;

pub use event::{Event, Level, Stamped, Stream};
pub use handle::{Progress, Renderer, Ui, UiThread};
