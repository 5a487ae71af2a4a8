//! A glyph-sized picture of two colours.

/// The widest and highest cell of the known fonts.
pub const MAX_WIDTH: usize = 16;
pub const MAX_HEIGHT: usize = 32;

/// A cell's bitmap: a row's leftmost pixel is the highest of its `width` bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bits {
    width: usize,
    height: usize,
    rows: [u16; MAX_HEIGHT],
}

impl Bits {
    /// Makes a bitmap of pixels that `ink` tells apart.
    pub fn of<'p>(width: usize, rows: impl Iterator<Item = &'p [u32]>, ink: impl Fn(u32) -> bool) -> Bits {
        let mut bits = Bits { width, height: 0, rows: [0; MAX_HEIGHT] };
        for (to, from) in bits.rows.iter_mut().zip(rows) {
            *to = from.iter().fold(0, |row, &colour| row << 1 | u16::from(ink(colour)));
            bits.height += 1;
        }
        bits
    }

    fn full(&self) -> u16 {
        u16::MAX >> (MAX_WIDTH - self.width.min(MAX_WIDTH))
    }

    fn used(&self) -> &[u16] {
        self.rows.get(..self.height).unwrap_or_default()
    }

    /// Returns it with ink and ground exchanged in the lowest `rows` rows.
    pub fn flipped(mut self, rows: usize) -> Bits {
        let full = self.full();
        let first = self.height.saturating_sub(rows);
        for row in self.rows.iter_mut().take(self.height).skip(first) {
            *row ^= full;
        }
        self
    }

    /// Returns it with ink and ground exchanged.
    pub fn inverted(self) -> Bits {
        self.flipped(self.height)
    }

    /// Tells whether most of it is ink.
    pub fn is_mostly_ink(&self) -> bool {
        let ink: u32 = self.used().iter().map(|row| row.count_ones()).sum();
        ink as usize * 2 > self.width * self.height
    }

    /// Returns the rows between the first and the last that have ink, if each of these is all ink.
    pub fn bar(&self) -> Option<std::ops::Range<usize>> {
        let full = self.full();
        let first = self.used().iter().position(|&row| row != 0)?;
        let last = self.used().iter().rposition(|&row| row != 0)?;
        self.used().get(first..=last)?.iter().all(|&row| row == full).then_some(first..last + 1)
    }

    /// Tells whether it is vertical lines from top to bottom.
    pub fn is_upright(&self) -> bool {
        let rows = self.used();
        rows.first().is_some_and(|first| *first != 0 && rows.iter().all(|row| row == first))
    }

    /// Returns the checksum by which fonts know their glyphs: CRC-32 of the rows, each filled up to whole bytes.
    pub fn crc(&self) -> u32 {
        let mut packed = [0u8; MAX_HEIGHT * 2];
        let size = self.width.div_ceil(8);
        let fill = size * 8 - self.width;
        for (to, row) in packed.chunks_exact_mut(size).zip(self.used()) {
            let bytes = (row << fill).to_be_bytes();
            to.copy_from_slice(bytes.get(2 - size..).unwrap_or_default());
        }
        crc32fast::hash(packed.get(..size * self.height).unwrap_or_default())
    }
}
