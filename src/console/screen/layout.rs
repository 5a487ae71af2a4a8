//! Rows of text from characters at places on a screen.

use super::cell::Cell;
use crate::engine::ScreenText;

/// The cells of one grid.
pub struct Layer {
    pub step_x: usize,
    pub step_y: usize,
    pub x: usize,
    /// Where each cell begins, row by row.
    pub cells: Vec<((usize, usize), Cell)>,
}

/// Puts layers together: the first gives the rows, the others are written between.
#[derive(Default)]
pub struct Layout {
    layers: Vec<Layer>,
}

/// A row of the result: where it is, and a character or nothing in each column.
struct Row {
    y: usize,
    cells: Vec<Option<char>>,
}

impl Layout {
    pub fn add(&mut self, layer: Layer) {
        self.layers.push(layer);
    }

    pub fn text(self) -> ScreenText {
        let mut layers = self.layers.into_iter();
        let Some(first) = layers.next() else { return ScreenText::default() };
        let (step_x, step_y, x) = (first.step_x, first.step_y, first.x);
        let mut rows = rows_of(
            &first,
            |cell| match cell {
                Cell::Glyph(c) => Some(c),
                Cell::Strange => Some(char::REPLACEMENT_CHARACTER),
                Cell::Blank | Cell::Picture => None,
            },
            |place| place.saturating_sub(x) / step_x,
        );
        for layer in layers {
            let column = |place: usize| (place + step_x / 2).saturating_sub(x) / step_x;
            let glyph = |cell| if let Cell::Glyph(c) = cell { Some(c) } else { None };
            for row in rows_of(&layer, glyph, column) {
                if row.cells.iter().any(Option::is_some) {
                    merge(&mut rows, row, step_y);
                }
            }
        }
        let text = |row: Row| -> String { row.cells.into_iter().map(|cell| cell.unwrap_or(' ')).collect() };
        ScreenText { rows: rows.into_iter().map(|row| text(row).trim_end().to_owned()).collect() }
    }
}

fn rows_of(layer: &Layer, show: impl Fn(Cell) -> Option<char>, column: impl Fn(usize) -> usize) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for &((x, y), cell) in &layer.cells {
        if rows.last().is_none_or(|row| row.y != y) {
            rows.push(Row { y, cells: Vec::new() });
        }
        let Some(row) = rows.last_mut() else { continue };
        let at = column(x).max(row.cells.len());
        row.cells.resize(at, None);
        row.cells.push(show(cell));
    }
    rows
}

/// Writes a row into the one it lies on, or between two where something stands there already.
fn merge(rows: &mut Vec<Row>, row: Row, step_y: usize) {
    let free = |cell: &Option<char>| matches!(cell, None | Some(char::REPLACEMENT_CHARACTER));
    let nearest = rows.iter_mut().find(|other| other.y.abs_diff(row.y) * 2 <= step_y);
    if let Some(other) = nearest {
        let clashes = other.cells.iter().zip(&row.cells).any(|(a, b)| !free(a) && b.is_some());
        if !clashes {
            if other.cells.len() < row.cells.len() {
                other.cells.resize(row.cells.len(), None);
            }
            for (to, from) in other.cells.iter_mut().zip(row.cells) {
                *to = from.or(*to);
            }
            return;
        }
    }
    let place = rows.partition_point(|other| other.y <= row.y);
    rows.insert(place, row);
}
