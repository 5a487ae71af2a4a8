//! What one cell of a screen shows.

use super::bits::{Bits, MAX_HEIGHT, MAX_WIDTH};
use super::fonts::Font;

/// What a cell is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell {
    /// One colour.
    Blank,
    Glyph(char),
    /// Two colours, and no glyph of the font.
    Strange,
    /// A part of a picture.
    Picture,
}

/// How hard to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Cells of two colours.
    Plain,
    /// Cells of more colours too: text over a picture, perhaps with a shadow.
    Pictures,
}

/// How many rows at its foot a cursor may cover.
const CURSOR_ROWS: std::ops::RangeInclusive<usize> = 1..=4;
/// By how much (of 2040) text over a picture must differ from it, and how many such steps are tried.
const STEP: u16 = 160;
const STEPS_TRIED: usize = 3;

/// Reads a cell: its pixels' rows are as wide and as many as the font's glyphs.
pub fn read<'p>(rows: impl Iterator<Item = &'p [u32]> + Clone, font: &Font, effort: Effort) -> Cell {
    match two_colours(rows.clone()) {
        Colours::One => Cell::Blank,
        Colours::Two(ground) => {
            let bits = Bits::of(font.width, rows, |colour| colour != ground);
            // What there is less of is the ink, more often than not.
            let bits = if bits.is_mostly_ink() { bits.inverted() } else { bits };
            either(&bits, font).map_or(Cell::Strange, Cell::Glyph)
        }
        Colours::More if effort == Effort::Plain => Cell::Picture,
        Colours::More => over_picture(rows, font).map_or(Cell::Picture, Cell::Glyph),
    }
}

/// Reads a cell of the grid that the screen's text is known to stand on: there may be a cursor on it, or a line drawn
/// through it.
pub fn read_in_grid<'p>(rows: impl Iterator<Item = &'p [u32]> + Clone, font: &Font, effort: Effort) -> Cell {
    let cell = match read(rows.clone(), font, effort) {
        // A cursor, where there is no character.
        Cell::Glyph('▁' | '▂') => return Cell::Blank,
        Cell::Strange if effort == Effort::Pictures => return Cell::Picture,
        cell => cell,
    };
    let (Cell::Strange, Colours::Two(ground)) = (cell, two_colours(rows.clone())) else { return cell };
    let bits = Bits::of(font.width, rows, |colour| colour != ground);
    let (first, second) = if bits.is_mostly_ink() { (bits.inverted(), bits) } else { (bits, bits.inverted()) };
    for bits in [first, second] {
        match bits.bar() {
            Some(bar) if bar.start + CURSOR_ROWS.end() >= font.height => return Cell::Blank,
            Some(bar) if bar.len() * 3 <= font.height => return Cell::Glyph('─'),
            Some(bar) if bar.start > 0 && bar.end == font.height => return Cell::Glyph('▄'),
            Some(bar) if bar.start == 0 && bar.end < font.height => return Cell::Glyph('▀'),
            _ => {}
        }
        if bits.is_upright() {
            return Cell::Glyph('│');
        }
        if let Some(char) = CURSOR_ROWS.into_iter().find_map(|rows| font.character(bits.flipped(rows).crc())) {
            return Cell::Glyph(char);
        }
    }
    Cell::Strange
}

enum Colours {
    One,
    /// The colour in the upper left corner, and another.
    Two(u32),
    More,
}

fn two_colours<'p>(mut rows: impl Iterator<Item = &'p [u32]>) -> Colours {
    let mut ground = None;
    let mut ink = None;
    let found = rows.try_for_each(|row| {
        row.iter().try_for_each(|&colour| {
            let ground = *ground.get_or_insert(colour);
            (colour == ground || *ink.get_or_insert(colour) == colour).then_some(())
        })
    });
    match (found, ground, ink) {
        (None, ..) => Colours::More,
        (_, Some(ground), Some(_)) => Colours::Two(ground),
        _ => Colours::One,
    }
}

fn either(bits: &Bits, font: &Font) -> Option<char> {
    font.character(bits.crc()).or_else(|| font.character(bits.inverted().crc()))
}

/// Looks for a glyph that is brighter or darker, or more colourful, than everything else in the cell.
fn over_picture<'p>(rows: impl Iterator<Item = &'p [u32]> + Clone, font: &Font) -> Option<char> {
    [brightness, saturation].into_iter().find_map(|measure| by_steps(rows.clone(), font, measure))
}

fn by_steps<'p>(rows: impl Iterator<Item = &'p [u32]> + Clone, font: &Font, measure: fn(u32) -> u16) -> Option<char> {
    let mut all = [0u16; MAX_WIDTH * MAX_HEIGHT];
    let mut count = 0;
    for (to, &colour) in all.iter_mut().zip(rows.clone().flatten()) {
        *to = measure(colour);
        count += 1;
    }
    let sorted = all.get_mut(..count)?;
    sorted.sort_unstable();
    let mut steps: Vec<(u16, u16)> = sorted
        .windows(2)
        .filter_map(|pair| match *pair {
            [below, above] if above - below >= STEP => Some((above - below, above)),
            _ => None,
        })
        .collect();
    steps.sort_unstable_by(|a, b| b.cmp(a));
    steps.into_iter().take(STEPS_TRIED).find_map(|(_, limit)| {
        let bits = Bits::of(font.width, rows.clone(), |colour| measure(colour) >= limit);
        // What a picture is made of looks like lines and dots here and there.
        either(&bits, font).filter(|c| c.is_alphanumeric() || c.is_ascii_punctuation())
    })
}

/// Returns how bright a colour is, from 0 to 2040; green counts most, as to the eye.
fn brightness(colour: u32) -> u16 {
    let [_, red, green, blue] = colour.to_be_bytes().map(u16::from);
    red * 2 + green * 5 + blue
}

/// Returns how far a colour is from grey, from 0 to 2040.
fn saturation(colour: u32) -> u16 {
    let [_, red, green, blue] = colour.to_be_bytes().map(u16::from);
    (red.max(green).max(blue) - red.min(green).min(blue)) * 8
}
