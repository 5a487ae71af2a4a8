//! VGA's text mode: characters from the adapter's memory, the place to read from the picture.
//!
//! The memory holds a code and an attribute for each cell, but from where on it is shown a register says that cannot be read
//! without disturbing the guest, and Linux scrolls by changing it. So the picture tells: the one beginning at which equal codes
//! always look equal, and different ones different.

use std::collections::HashMap;

use super::bits::Bits;
use super::codepage::cp437;
use super::fonts;
use super::pixels::Pixels;
use crate::engine::ScreenText;

/// Where a PC's colour text memory is: address and length.
pub const MEMORY: (u64, usize) = (0xb8000, 0x8000);
/// Sizes of pictures of text modes; 720 pixels are 80 cells of nine, 360 are 40.
const SIZES: [(usize, usize); 7] = [(720, 400), (720, 350), (720, 480), (640, 400), (640, 350), (640, 200), (360, 400)];
/// A cursor, and a cell or two that change between picture and memory.
const MISTAKES: usize = 4;
/// The size of a page of the BIOS's, in cells.
const PAGE: usize = 0x800;

/// Tells whether a picture of this size may be one of a text mode.
pub fn may_be_text(width: usize, height: usize) -> bool {
    SIZES.contains(&(width, height))
}

/// Reads the text of a picture of a text mode out of the adapter's memory; none where the two do not fit together.
pub fn text_mode(pixels: &Pixels, memory: &[u8]) -> Option<ScreenText> {
    if !may_be_text(pixels.width(), pixels.height()) {
        return None;
    }
    let width = if pixels.width().is_multiple_of(9) { 9 } else { 8 };
    [16, 8, 14].into_iter().filter(|height| pixels.height().is_multiple_of(*height)).find_map(|height| {
        let cells = Cells::of(pixels, width, height)?;
        let (start, _) = cells.start(memory)?;
        Some(cells.text(start))
    })
}

/// What is seen of one cell: nothing, or a shape and whether its upper left pixel is ink.
type Seen = Option<Shape>;

#[derive(Debug, Clone, Copy, PartialEq)]
struct Shape {
    /// The glyph, such that the upper left pixel is ground.
    crc: u32,
    bits: Bits,
}

struct Cells {
    columns: usize,
    height: usize,
    seen: Vec<Seen>,
}

impl Cells {
    fn of(pixels: &Pixels, width: usize, height: usize) -> Option<Cells> {
        let mut seen = Vec::new();
        for y in (0..pixels.height()).step_by(height) {
            for x in (0..pixels.width()).step_by(width) {
                let rows = pixels.window(x, y, 8, height)?;
                let ground = rows.clone().next()?.first().copied()?;
                let blank = rows.clone().flatten().all(|colour| *colour == ground);
                let bits = Bits::of(8, rows, |colour| colour != ground);
                seen.push((!blank).then(|| Shape { crc: bits.crc(), bits }));
            }
        }
        Some(Cells { columns: pixels.width() / width, height, seen })
    }

    /// Returns the part of the memory that is shown, and how many cells of it do not look like the others of their code.
    fn start<'m>(&self, memory: &'m [u8]) -> Option<(&'m [[u8; 2]], usize)> {
        let words = memory.as_chunks::<2>().0;
        let rows = (0..words.len()).step_by(self.columns);
        let pages = (0..words.len()).step_by(PAGE);
        let parts = rows.chain(pages).filter_map(|start| words.get(start..start.checked_add(self.seen.len())?));
        parts.filter_map(|part| Some((part, self.mistakes(part)?))).min_by_key(|(_, mistakes)| *mistakes)
    }

    /// Counts what does not fit; none where it is too much.
    fn mistakes(&self, part: &[[u8; 2]]) -> Option<usize> {
        let mut looks: HashMap<u8, u32> = HashMap::new();
        let mut codes: HashMap<u32, u8> = HashMap::new();
        let mut mistakes = 0;
        for ([code, attribute], seen) in part.iter().zip(&self.seen) {
            let shows_nothing = matches!(code, 0 | b' ' | 0xdb | 0xff);
            let fits = match seen {
                // Invisible by its colours, or blinking.
                None => shows_nothing || attribute & 0x80 != 0 || attribute >> 4 & 7 == attribute & 7,
                Some(_) if shows_nothing => false,
                Some(shape) => {
                    *looks.entry(*code).or_insert(shape.crc) == shape.crc
                        // Half blocks are each other's inverse, and which of the colours is ink is not seen.
                        && (*code >= 0xb0 || *codes.entry(shape.crc).or_insert(*code) == *code)
                }
            };
            mistakes += usize::from(!fits);
            if mistakes > MISTAKES {
                return None;
            }
        }
        Some(mistakes)
    }

    fn text(&self, part: &[[u8; 2]]) -> ScreenText {
        let font = fonts::of_size(8, self.height);
        let character = |([code, _], seen): (&[u8; 2], &Seen)| match seen {
            _ if (b' '..0x7f).contains(code) => char::from(*code),
            // A guest may have loaded a font with other characters than the adapter's own.
            Some(shape) => {
                let known = font
                    .and_then(|font| font.character(shape.crc).or_else(|| font.character(shape.bits.inverted().crc())));
                known.unwrap_or_else(|| cp437(*code))
            }
            None => cp437(*code),
        };
        let cells: Vec<char> = part.iter().zip(&self.seen).map(character).collect();
        let row = |row: &[char]| row.iter().collect::<String>().trim_end().to_owned();
        ScreenText { rows: cells.chunks(self.columns).map(row).collect() }
    }
}
