//! The transfer matrix as every form of the report shows it: rows, columns, tiles, marks and the limit of the colours.

use crate::analysis::Analysis;
use crate::baseline::TaskSummary;
use crate::cells::{Cell, CellStatus, Difference};
use crate::observation::Role;
use crate::options::Mode;

/// The rows, columns and marks that every figure and table of deltas shows.
pub(crate) struct Matrix<'a> {
    pub(crate) analysis: &'a Analysis,
    pub(crate) mode: Mode,
    /// Targets, then probes; each sorted by name.
    pub(crate) columns: Vec<&'a TaskSummary>,
    /// Sorted by average delta, the best first; rows without one last.
    pub(crate) rows: Vec<MatrixRow<'a>>,
    /// Points at which the colours end, on both sides of 0. The same in both modes.
    pub(crate) limit: f64,
}

/// One intermediate.
pub(crate) struct MatrixRow<'a> {
    pub(crate) intermediate: &'a str,
    /// One per column.
    pub(crate) tiles: Vec<Tile<'a>>,
    /// Mean delta over the common targets.
    pub(crate) average: Option<f64>,
}

/// One (intermediate, task).
pub(crate) struct Tile<'a> {
    pub(crate) cell: &'a Cell,
    /// The cell in the mode shown; `None` where dropping degenerate runs leaves nothing.
    pub(crate) difference: Option<&'a Difference>,
    pub(crate) mark: Mark,
    pub(crate) degenerate: DegenerateMark,
}

/// Result of the tests of a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Not shown to differ.
    None,
    /// Only Benjamini-Hochberg's p is below alpha.
    Suggested,
    /// Holm's p is below alpha.
    Shown,
}

/// Influence of degenerate runs on a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DegenerateMark {
    /// No degenerate run.
    None,
    /// A degenerate run in one of the arms.
    Inside,
    /// The sign of the delta or its mark depends on the degenerate runs.
    Decisive,
}

impl Tile<'_> {
    /// The delta, where there is one.
    pub(crate) fn delta(&self) -> Option<f64> {
        self.difference?.delta
    }

    /// True if planned runs have no score, though others have.
    pub(crate) fn incomplete(&self) -> bool {
        self.cell.n_failed > 0 && self.cell.status != CellStatus::Missing
    }

    /// True if the delta rests on a single run.
    pub(crate) fn single(&self) -> bool {
        self.difference.is_some_and(|difference| difference.delta.is_some() && difference.arms.n < 2)
    }
}

impl<'a> Matrix<'a> {
    /// Lays out the cells of an analysis.
    pub(crate) fn new(analysis: &'a Analysis, mode: Mode) -> Self {
        let columns: Vec<&TaskSummary> = analysis.tasks.iter().collect();
        let averages = &analysis.modes.of(mode).averages.rows;
        let mut rows: Vec<MatrixRow<'a>> = analysis
            .names
            .intermediates
            .iter()
            .zip(averages)
            .map(|(intermediate, average)| MatrixRow { intermediate, tiles: Vec::new(), average: average.mean })
            .collect();
        // Cells come sorted by role, intermediate and task, so that each is appended after its row's earlier columns.
        for cell in &analysis.cells {
            let row = analysis.names.intermediates.binary_search(&cell.intermediate);
            if let Ok(row) = row {
                rows[row].tiles.push(tile(cell, mode, analysis.options.alpha));
            }
        }
        let key = |row: &MatrixRow<'_>| row.average.unwrap_or(f64::NEG_INFINITY);
        rows.sort_by(|a, b| key(b).total_cmp(&key(a)));
        Matrix { analysis, mode, columns, rows, limit: limit(&analysis.cells) }
    }

    /// Every tile, row by row.
    pub(crate) fn tiles(&self) -> impl Iterator<Item = &Tile<'a>> {
        self.rows.iter().flat_map(|row| &row.tiles)
    }

    /// Number of columns that are targets.
    pub(crate) fn targets(&self) -> usize {
        self.columns.iter().filter(|column| column.role == Role::Target).count()
    }

    /// Name of the baseline's row.
    pub(crate) fn baseline(&self) -> &'a str {
        &self.analysis.options.baseline
    }

    /// Smallest and largest number of scores in the cells, and in the baseline's.
    pub(crate) fn restarts(&self) -> Option<[(usize, usize); 2]> {
        let range = |counts: Vec<usize>| Some((*counts.iter().min()?, *counts.iter().max()?));
        let of = |n: fn(&Difference) -> usize| {
            range(self.tiles().filter_map(|tile| tile.difference.map(n)).filter(|n| *n > 0).collect())
        };
        Some([of(|d| d.arms.n)?, of(|d| d.arms.n_base).unwrap_or((0, 0))])
    }
}

fn tile(cell: &Cell, mode: Mode, alpha: f64) -> Tile<'_> {
    let difference = cell.difference(mode);
    let degenerate = if cell.n_degenerate + cell.n_degenerate_base == 0 || cell.status == CellStatus::NoBaseline {
        DegenerateMark::None
    } else {
        // A delta of exactly 0 has a sign of its own, which a comparison with 0 gives and signum does not.
        let sign = |difference: &Difference| difference.delta.map(|delta| delta.partial_cmp(&0.0));
        let drop = cell.drop.as_ref();
        let same_sign = drop.and_then(sign) == sign(&cell.keep);
        let same_mark = drop.is_some_and(|drop| mark(drop, alpha) == mark(&cell.keep, alpha));
        if same_sign && same_mark { DegenerateMark::Inside } else { DegenerateMark::Decisive }
    };
    Tile { cell, difference, mark: difference.map_or(Mark::None, |difference| mark(difference, alpha)), degenerate }
}

fn mark(difference: &Difference, alpha: f64) -> Mark {
    let below = |p: Option<f64>| p.is_some_and(|p| p < alpha);
    match difference {
        _ if below(difference.p_holm) => Mark::Shown,
        _ if below(difference.p_bh) => Mark::Suggested,
        _ => Mark::None,
    }
}

/// The 95th percentile of |delta| with all runs, rounded up to 1, 2 or 5 times a power of ten; 1 without deltas.
fn limit(cells: &[Cell]) -> f64 {
    let mut sizes: Vec<f64> = cells.iter().filter_map(|cell| cell.keep.delta).map(f64::abs).collect();
    sizes.sort_unstable_by(f64::total_cmp);
    let Some(last) = sizes.len().checked_sub(1) else { return 1.0 };
    // Not the maximum: a single failed cell would leave all others nearly white.
    let place = 0.95 * last as f64;
    let (low, high) = (sizes[place.floor() as usize], sizes[place.ceil() as usize]);
    round_up(low + place.fract() * (high - low))
}

fn round_up(size: f64) -> f64 {
    if size <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(size.log10().floor());
    // The tolerance keeps 2.0000000000000004 at 2.
    let step = [1.0, 2.0, 5.0].into_iter().find(|step| size <= step * power * (1.0 + 1e-9));
    step.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_colour_limit_is_a_round_number_above() {
        for (size, want) in [(0.0, 1.0), (0.9, 1.0), (1.0, 1.0), (1.01, 2.0), (4.2, 5.0), (5.1, 10.0), (31.0, 50.0)] {
            assert!((round_up(size) - want).abs() < 1e-12 * want, "{size}: {}", round_up(size));
        }
    }
}
