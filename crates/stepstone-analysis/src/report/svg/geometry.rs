//! Sizes of the picture and positions in it.

use std::fmt::Write as _;

use crate::report::matrix::Matrix;

/// Sizes in pixels.
pub(super) const TILE: (f64, f64) = (52.0, 26.0);
pub(super) const GAP: f64 = 10.0;
pub(super) const MARGIN: f64 = 16.0;
/// Advance of a wide 12 px sans-serif letter; labels are laid out by it, since an SVG cannot measure text.
pub(super) const LETTER: f64 = 7.2;
/// Longer names are cut; the title of a tile has the full one.
pub(super) const LONGEST_NAME: usize = 28;
/// Length of a label that leans at 45 degrees, as height and as width.
pub(super) const LEAN: f64 = std::f64::consts::FRAC_1_SQRT_2;

/// Positions in the picture, in pixels.
pub(super) struct Geometry {
    /// Left edge of the first tile.
    pub(super) left: f64,
    /// Left edges of the columns, in the order of the matrix.
    pub(super) columns: Vec<f64>,
    /// Left edge of the average column, if there are targets.
    pub(super) average: Option<f64>,
    /// Base line of the column labels.
    pub(super) label_line: f64,
    /// Upper edge of the baseline's row.
    pub(super) baseline: f64,
    /// Upper edge of the first intermediate's row.
    pub(super) first_row: f64,
    /// Lower edge of the last row.
    pub(super) bottom: f64,
    pub(super) width: f64,
}

impl Geometry {
    pub(super) fn new(matrix: &Matrix<'_>) -> Self {
        // Widths are estimated for the widest letters: a gap is better than two labels that overlap.
        let length = |name: &str| LETTER * name.chars().count().min(LONGEST_NAME) as f64;
        let longest = |names: &mut dyn Iterator<Item = &str>| names.map(length).fold(0.0, f64::max);
        let rows = longest(&mut matrix.rows.iter().map(|row| row.intermediate).chain([matrix.baseline()]));
        let labels = longest(&mut matrix.columns.iter().map(|column| column.task.as_str()).chain(["average"]));
        let left = MARGIN + rows + 8.0;
        let targets = matrix.targets();
        let mut columns: Vec<f64> = (0..targets).map(|i| left + i as f64 * TILE.0).collect();
        let mut right = left + targets as f64 * TILE.0;
        let average = (targets > 0).then_some(right + GAP);
        // A gap on both sides keeps the average from being read as one more task.
        if let Some(edge) = average {
            right = edge + TILE.0 + GAP;
        }
        columns.extend((0..matrix.columns.len() - targets).map(|i| right + i as f64 * TILE.0));
        let last = columns.last().map_or(left, |edge| edge + TILE.0).max(average.map_or(left, |edge| edge + TILE.0));
        // The first 30 pixels are for the title.
        let label_line = MARGIN + 30.0 + LEAN * labels;
        let baseline = label_line + 8.0;
        let first_row = baseline + TILE.1 + GAP;
        let bottom = first_row + matrix.rows.len() as f64 * TILE.1;
        Self { left, columns, average, label_line, baseline, first_row, bottom, width: last + LEAN * labels + MARGIN }
    }
}

/// Decimals that a round number of 1, 2 or 5 times a power of ten needs.
pub(super) fn decimals(limit: f64) -> usize {
    if limit >= 1.0 { 0 } else { (-limit.log10().floor()) as usize }
}

/// Appends to a text, which cannot fail.
pub(super) fn put(text: &mut String, piece: std::fmt::Arguments<'_>) {
    let _ = text.write_fmt(piece);
}
