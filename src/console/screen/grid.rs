//! Where on a screen the cells of its text are.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};

use super::cell::{self, Cell, Effort};
use super::fonts::Font;
use super::pixels::Pixels;

/// A lattice of cells: the size of a step, and where the first whole cell begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    pub font: &'static Font,
    /// From one cell to the next; VGA's text mode has nine pixels for glyphs of eight.
    pub step_x: usize,
    pub x: usize,
    pub y: usize,
    pub effort: Effort,
}

/// How many places with something on them are looked at.
const SAMPLES: usize = 64;
/// As many pixels at least must differ by this much in a channel for an edge.
const EDGE: u8 = 32;
/// The work of a search in pixels; fonts with large cells are looked for at fewer places.
const BUDGET: usize = 1 << 20;
/// A grid on which this part of the places shows letters is the right one.
const SURE: usize = 3;

/// What of a screen has not been read yet.
pub struct Unread<'p> {
    pixels: &'p Pixels,
    /// Places where the colour changes from left to right.
    edges: Vec<(usize, usize)>,
}

impl<'p> Unread<'p> {
    pub fn new(pixels: &'p Pixels) -> Unread<'p> {
        let differs =
            |a: u32, b: u32| a != b && a.to_be_bytes().iter().zip(b.to_be_bytes()).any(|(a, b)| a.abs_diff(b) >= EDGE);
        let in_row = |(y, row): (usize, &'p [u32])| {
            let pairs = row.iter().zip(row.iter().skip(1)).enumerate();
            pairs.filter(move |(_, (a, b))| differs(**a, **b)).map(move |(x, _)| (x + 1, y))
        };
        Unread { pixels, edges: pixels.rows().enumerate().flat_map(in_row).collect() }
    }

    /// Returns what stands for all that is left.
    pub fn digest(&self) -> u64 {
        let mut hasher = std::hash::DefaultHasher::new();
        (self.pixels.width(), &self.edges).hash(&mut hasher);
        hasher.finish()
    }

    /// Forgets what lies in cells that have been read.
    pub fn forget(&mut self, grid: &Grid, read: &BTreeSet<(usize, usize)>) {
        self.edges.retain(|&(x, y)| !grid.cell_at(x, y).is_some_and(|cell| read.contains(&cell)));
    }

    fn samples(&self, count: usize) -> impl Iterator<Item = (usize, usize)> {
        let step = (self.edges.len() / count.max(1)).max(1);
        self.edges.iter().skip(step / 2).step_by(step).copied()
    }

    /// Tells whether a grid known from before still is one.
    pub fn confirms(&self, grid: &Grid) -> bool {
        let cells: BTreeSet<_> = self.samples(SAMPLES).filter_map(|(x, y)| grid.cell_at(x, y)).collect();
        let letters = cells.iter().filter(|&&(x, y)| is_letter(self.pixels, x, y, grid.font, grid.effort)).count();
        letters >= 2 && letters * SURE >= cells.len()
    }

    /// Looks for a grid of glyphs of a font; `least` letters must stand on it. Returns it with the letters seen.
    pub fn search(&self, font: &'static Font, effort: Effort, least: usize) -> Option<(Grid, usize)> {
        let area = font.width * font.height;
        let mut letters = BTreeSet::new();
        let mut looked = BTreeSet::new();
        for (px, py) in self.samples((BUDGET / area / area).clamp(4, SAMPLES)) {
            for y in (py + 1).saturating_sub(font.height)..=py {
                for x in (px + 1).saturating_sub(font.width)..=px {
                    if looked.insert((x, y)) && is_letter(self.pixels, x, y, font, effort) {
                        letters.insert((x, y));
                    }
                }
            }
        }
        let steps = [font.width, font.width + 1];
        let best = steps.into_iter().filter_map(|step_x| {
            let mut votes = BTreeMap::<_, usize>::new();
            for (x, y) in &letters {
                *votes.entry((x % step_x, y % font.height)).or_default() += 1;
            }
            let ((x, y), votes) = votes.into_iter().max_by_key(|(_, votes)| *votes)?;
            Some((Grid { font, step_x, x, y, effort }, votes))
        });
        // Of equal ones the first: glyphs without a gap are the rule.
        let best = best.reduce(|best, other| if other.1 > best.1 { other } else { best })?;
        (best.1 >= least).then_some(best)
    }

    /// Tells whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.edges.is_empty()
    }
}

impl Grid {
    /// Returns where the cell begins that a pixel lies in.
    pub fn cell_at(&self, x: usize, y: usize) -> Option<(usize, usize)> {
        let column = x.checked_sub(self.x)? / self.step_x;
        let row = y.checked_sub(self.y)? / self.font.height;
        Some((self.x + column * self.step_x, self.y + row * self.font.height))
    }

    /// Reads all cells: where each begins, and what it is.
    pub fn read(&self, pixels: &Pixels) -> Vec<((usize, usize), Cell)> {
        let mut cells = Vec::new();
        for y in (self.y..pixels.height()).step_by(self.font.height) {
            for x in (self.x..pixels.width()).step_by(self.step_x) {
                if let Some(rows) = pixels.window(x, y, self.font.width, self.font.height) {
                    cells.push(((x, y), cell::read_in_grid(rows, self.font, self.effort)));
                }
            }
        }
        cells
    }
}

/// Tells whether a letter or digit begins at a place; dots and lines are found anywhere.
fn is_letter(pixels: &Pixels, x: usize, y: usize, font: &Font, effort: Effort) -> bool {
    let cell = pixels.window(x, y, font.width, font.height).map(|rows| cell::read(rows, font, effort));
    matches!(cell, Some(Cell::Glyph(c)) if c.is_alphanumeric())
}
