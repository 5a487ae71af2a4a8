//! From pixels to text.

use std::collections::BTreeSet;

use super::cell::{Cell, Effort};
use super::fonts::{self, Font};
use super::grid::{Grid, Unread};
use super::layout::{self, Layer};
use super::pixels::Pixels;
use crate::engine::ScreenText;

/// How many grids may lie on one screen: a menu's box is seldom in line with the text around it.
const LAYERS: usize = 4;
/// How many letters at least must stand on the first grid, and on others.
const LEAST: (usize, usize) = (2, 3);

/// Reads text from pictures of one screen. It remembers where the text was, which makes the next picture quick to read.
#[derive(Debug)]
pub struct Recognizer {
    fonts: &'static [Font],
    grids: Vec<Grid>,
    /// What was left the last time, and holds no text.
    pointless: Option<u64>,
}

impl Default for Recognizer {
    fn default() -> Recognizer {
        Recognizer::new(fonts::standard())
    }
}

impl Recognizer {
    /// Makes one that knows these fonts, the most likely first.
    pub fn new(fonts: &'static [Font]) -> Recognizer {
        Recognizer { fonts, grids: Vec::new(), pointless: None }
    }

    /// Returns the text on a screen; nothing where there is none in a known font.
    pub fn read(&mut self, pixels: &Pixels) -> ScreenText {
        let mut unread = Unread::new(pixels);
        let mut layers = Vec::new();
        let mut known = std::mem::take(&mut self.grids);
        while self.grids.len() < LAYERS && !unread.is_empty() {
            let remembered = known.iter().position(|grid| unread.confirms(grid)).map(|index| known.remove(index));
            let Some(grid) = remembered.or_else(|| self.search(&unread)) else { break };
            let cells = grid.read(pixels);
            // What changes at the edge of a blank cell is the ground.
            let is_read = |cell: &Cell| matches!(cell, Cell::Glyph(_) | Cell::Blank);
            let read: BTreeSet<_> = cells.iter().filter(|(_, cell)| is_read(cell)).map(|(place, _)| *place).collect();
            unread.forget(&grid, &read);
            layers.push(Layer { grid, cells });
            self.grids.push(grid);
        }
        layout::text(&layers)
    }

    fn search(&mut self, unread: &Unread<'_>) -> Option<Grid> {
        let digest = unread.digest();
        if self.pointless == Some(digest) {
            return None;
        }
        let least = if self.grids.is_empty() { LEAST.0 } else { LEAST.1 };
        let mut best: Option<(Grid, usize)> = None;
        let pictures = self.fonts.first().map(|font| (font, Effort::Pictures));
        for (font, effort) in self.fonts.iter().map(|font| (font, Effort::Plain)).chain(pictures) {
            // Text over a picture is looked for only where there is nothing plainer.
            if effort == Effort::Pictures && best.is_some() {
                break;
            }
            if let Some((grid, letters)) = unread.search(font, effort, least)
                && best.as_ref().is_none_or(|(_, most)| letters > *most)
            {
                best = Some((grid, letters));
                if letters >= 16 {
                    break;
                }
            }
        }
        if best.is_none() {
            self.pointless = Some(digest);
        }
        best.map(|(grid, _)| grid)
    }
}
