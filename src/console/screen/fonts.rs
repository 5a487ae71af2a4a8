//! The console fonts that are known, as checksums of their glyphs. `fonts.py` makes the table.

use std::sync::OnceLock;

/// Layout: see `fonts.py`.
static TABLE: &[u8] = include_bytes!("fonts.bin");

/// What is known of all fonts with cells of one size.
#[derive(Clone, Copy, PartialEq)]
pub struct Font {
    pub width: usize,
    pub height: usize,
    crcs: &'static [[u8; 4]],
    chars: &'static [[u8; 2]],
}

impl std::fmt::Debug for Font {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{} with {} glyphs", self.width, self.height, self.crcs.len())
    }
}

impl Font {
    /// Returns the character whose glyph has this checksum.
    pub fn character(&self, crc: u32) -> Option<char> {
        let index = self.crcs.binary_search_by_key(&crc, |bytes| u32::from_le_bytes(*bytes)).ok()?;
        self.chars.get(index).and_then(|bytes| char::from_u32(u16::from_le_bytes(*bytes).into()))
    }

    /// Makes a font of a table: checksums in ascending order, and the characters in the order of these.
    pub fn new(width: usize, height: usize, crcs: &'static [[u8; 4]], chars: &'static [[u8; 2]]) -> Font {
        Font { width, height, crcs, chars }
    }
}

/// Returns the known fonts, the most likely sizes of a cell first.
pub fn standard() -> &'static [Font] {
    static FONTS: OnceLock<Vec<Font>> = OnceLock::new();
    FONTS.get_or_init(|| {
        let mut fonts = Vec::new();
        let mut rest = TABLE;
        while let Some((font, tail)) = first(rest) {
            fonts.push(font);
            rest = tail;
        }
        let likely = [(8, 16), (8, 19), (16, 32), (8, 14), (8, 8)];
        let place = |font: &Font| likely.iter().position(|&size| size == (font.width, font.height));
        fonts.sort_by_key(|font| place(font).unwrap_or(likely.len()));
        fonts
    })
}

/// Returns the fonts with cells of one size.
pub fn of_size(width: usize, height: usize) -> Option<&'static Font> {
    standard().iter().find(|font| (font.width, font.height) == (width, height))
}

fn first(table: &'static [u8]) -> Option<(Font, &'static [u8])> {
    let ([width, height, count @ ..], rest) = table.split_first_chunk::<6>()?;
    let count = u32::from_le_bytes(*count) as usize;
    let (crcs, rest) = rest.split_at_checked(count * 4)?;
    let (chars, rest) = rest.split_at_checked(count * 2)?;
    Some((Font::new((*width).into(), (*height).into(), crcs.as_chunks().0, chars.as_chunks().0), rest))
}
