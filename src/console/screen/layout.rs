//! Rows of text from characters at places on a screen.

use std::collections::BTreeSet;

use super::cell::Cell;
use super::grid::Grid;
use crate::engine::ScreenText;

/// A grid and what is on it: where each cell begins, row by row.
pub struct Layer {
    pub grid: Grid,
    pub cells: Vec<((usize, usize), Cell)>,
}

/// A row of the result: where it is, and a character or nothing in each column.
struct Row {
    y: usize,
    cells: Vec<Option<char>>,
}

/// Puts layers together: the first gives rows and columns, what is on the others is written between.
pub fn text(layers: &[Layer]) -> ScreenText {
    let Some((first, others)) = layers.split_first() else { return ScreenText::default() };
    let taken = others.iter().map(Taken::by).collect::<Vec<_>>();
    let show = |place, cell| match cell {
        Cell::Glyph(c) => Some(c),
        Cell::Strange if taken.iter().any(|taken| taken.touches(&first.grid, place)) => None,
        Cell::Strange => Some(char::REPLACEMENT_CHARACTER),
        Cell::Blank | Cell::Picture => None,
    };
    let mut rows = rows_of(first, &first.grid, show);
    for layer in others {
        let show = |_, cell| if let Cell::Glyph(c) = cell { Some(c) } else { None };
        for row in rows_of(layer, &first.grid, show) {
            if row.cells.iter().any(Option::is_some) {
                merge(&mut rows, row, first.grid.font.height);
            }
        }
    }
    let text = |row: Row| -> String { row.cells.into_iter().map(|cell| cell.unwrap_or(' ')).collect() };
    ScreenText { rows: rows.into_iter().map(|row| text(row).trim_end().to_owned()).collect() }
}

/// Where the characters of a layer are.
struct Taken<'l> {
    grid: &'l Grid,
    places: BTreeSet<(usize, usize)>,
}

impl Taken<'_> {
    fn by(layer: &Layer) -> Taken<'_> {
        let glyphs = layer.cells.iter().filter(|(_, cell)| matches!(cell, Cell::Glyph(_)));
        Taken { grid: &layer.grid, places: glyphs.map(|(place, _)| *place).collect() }
    }

    /// Tells whether one of them lies on a part of a cell of another grid.
    fn touches(&self, grid: &Grid, (x, y): (usize, usize)) -> bool {
        let (right, bottom) = (x + grid.font.width - 1, y + grid.font.height - 1);
        [(x, y), (right, y), (x, bottom), (right, bottom)]
            .into_iter()
            .any(|(x, y)| self.grid.cell_at(x, y).is_some_and(|place| self.places.contains(&place)))
    }
}

/// Returns a layer's rows, its cells in the nearest columns of the first grid.
fn rows_of(layer: &Layer, grid: &Grid, show: impl Fn((usize, usize), Cell) -> Option<char>) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for &((x, y), cell) in &layer.cells {
        if rows.last().is_none_or(|row| row.y != y) {
            rows.push(Row { y, cells: Vec::new() });
        }
        let Some(row) = rows.last_mut() else { continue };
        let column = (x + grid.step_x / 2).saturating_sub(grid.x) / grid.step_x;
        row.cells.resize(column.max(row.cells.len()), None);
        row.cells.push(show((x, y), cell));
    }
    rows
}

/// Writes a row into the one it lies on, or between two where something stands there already.
fn merge(rows: &mut Vec<Row>, row: Row, height: usize) {
    let free = |cell: &Option<char>| matches!(cell, None | Some(char::REPLACEMENT_CHARACTER));
    if let Some(other) = rows.iter_mut().find(|other| other.y.abs_diff(row.y) * 2 <= height) {
        let clashes = other.cells.iter().zip(&row.cells).any(|(a, b)| !free(a) && b.is_some());
        if !clashes {
            let columns = other.cells.len().max(row.cells.len());
            other.cells.resize(columns, None);
            for (to, from) in other.cells.iter_mut().zip(row.cells) {
                *to = from.or(*to);
            }
            return;
        }
    }
    let place = rows.partition_point(|other| other.y <= row.y);
    rows.insert(place, row);
}
