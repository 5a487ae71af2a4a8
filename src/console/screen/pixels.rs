//! A picture of a screen.

use crate::error::{Error, Kind, Result};

/// No screen of a guest is wider or higher.
const MAX_SIDE: u32 = 16_384;

/// A picture, its pixels as 0xRRGGBB from left to right and top to bottom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pixels {
    width: usize,
    height: usize,
    colours: Vec<u32>,
}

impl Pixels {
    /// Makes a picture of its pixels; none where they are not `width` times `height`.
    pub fn new(width: usize, height: usize, colours: Vec<u32>) -> Option<Pixels> {
        (width > 0 && width.checked_mul(height) == Some(colours.len())).then_some(Pixels { width, height, colours })
    }

    /// Takes a portable pixmap (binary, 8 bits a channel), which is what QEMU draws.
    pub fn from_ppm(ppm: &[u8]) -> Result<Pixels> {
        let (width, height, bytes) = parse_ppm(ppm)?;
        let colour = |rgb: &[u8]| rgb.iter().fold(0, |colour, &channel| colour << 8 | u32::from(channel));
        let colours = bytes.chunks_exact(3).map(colour).collect();
        Ok(Pixels { width: width as usize, height: height as usize, colours })
    }

    pub fn width(&self) -> usize {
        self.width
    }

    pub fn height(&self) -> usize {
        self.height
    }

    /// Returns the rows from top to bottom.
    pub fn rows(&self) -> impl Iterator<Item = &[u32]> + Clone {
        self.colours.chunks_exact(self.width)
    }

    /// Returns the rows of a part of the picture; none where it is not all on it.
    pub fn window(
        &self,
        x: usize,
        y: usize,
        width: usize,
        height: usize,
    ) -> Option<impl Iterator<Item = &[u32]> + Clone> {
        let inside = x + width <= self.width && y + height <= self.height;
        inside.then(|| self.rows().skip(y).take(height).map(move |row| row.get(x..x + width).unwrap_or_default()))
    }
}

/// Takes a portable pixmap apart: width, height, and three bytes a pixel.
pub fn parse_ppm(ppm: &[u8]) -> Result<(u32, u32, &[u8])> {
    let wrong = || Error::new(Kind::Machine, "QEMU's picture of the screen is not a pixmap");
    let mut rest = ppm;
    let mut word = || -> Option<String> {
        loop {
            let start = rest.iter().position(|b| !b.is_ascii_whitespace())?;
            rest = rest.get(start..)?;
            if rest.first() != Some(&b'#') {
                break;
            }
            rest = rest.get(rest.iter().position(|&b| b == b'\n')?..)?;
        }
        let end = rest.iter().position(u8::is_ascii_whitespace)?;
        let (word, tail) = rest.split_at_checked(end)?;
        rest = tail;
        Some(String::from_utf8_lossy(word).into_owned())
    };
    if word().as_deref() != Some("P6") {
        return Err(wrong());
    }
    let mut number = || word().and_then(|text| text.parse::<u32>().ok());
    let (Some(width), Some(height), Some(255)) = (number(), number(), number()) else { return Err(wrong()) };
    if width == 0 || height == 0 || width > MAX_SIDE || height > MAX_SIDE {
        return Err(wrong());
    }
    let pixels = rest.get(1..=width as usize * height as usize * 3).ok_or_else(wrong)?;
    Ok((width, height, pixels))
}
