//! Text read from a screen: from text mode's memory, or from pixels by exact matching with console fonts.

mod bits;
mod cell;
mod codepage;
mod fonts;
mod grid;
mod layout;
mod pixels;
mod recognize;
#[cfg(test)]
mod tests;
mod text_mode;

pub use pixels::{Pixels, parse_ppm};
pub use recognize::Recognizer;
pub use text_mode::{MEMORY, may_be_text, text_mode};
