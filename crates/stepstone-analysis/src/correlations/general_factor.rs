//! The general factor: good encoders are good at everything. This file computes correlations with that factor held fixed.

use super::frame::{Frame, FramePair, tied};
use super::pair::Partial;
use crate::coefficient::{Centred, Ranks, correlation_p, dot};
use crate::moments::mean;
use crate::rng::SplitMix64;
use crate::table::ScoreTable;

/// Fewest intermediates, and fewest other columns, for a factor.
// Five intermediates leave k - 3 = 2 degrees of freedom, and a component of fewer than three columns is not general.
const FEWEST_INTERMEDIATES: usize = 5;
const FEWEST_COLUMNS: usize = 3;

/// The standardised ranks of the columns that enter the factor of a frame.
pub(super) struct Factors {
    /// By table column: ranks of the means at unit length `[k]`; `None` if a mean is missing or all are equal.
    columns: Vec<Option<Vec<f64>>>,
    /// Sum of the outer products of all of them: `[k, k]`.
    gram: Vec<f64>,
}

impl Factors {
    pub(super) fn new(table: &ScoreTable, frame: &Frame) -> Self {
        let k = frame.k();
        let columns: Vec<Option<Vec<f64>>> =
            (0..table.columns.len()).map(|column| unit_ranks(&means(table, frame, column)?)).collect();
        let mut gram = vec![0.0; k * k];
        columns.iter().flatten().for_each(|column| add_outer(&mut gram, column, 1.0));
        Self { columns, gram }
    }

    /// The partial correlation of a pair given the first principal component of all columns but its own two, which must
    /// not define what they are corrected for. Reference: `pingouin.partial_corr` of the two columns' ranks and the raw
    /// component.
    pub(super) fn partial(&self, frame: &Frame, pair: &FramePair) -> Option<Partial> {
        let own = [pair.x, pair.y].map(|column| frame.columns[column].table_column);
        let others = self.columns.iter().flatten().count() - own.iter().filter(|c| self.columns[**c].is_some()).count();
        if frame.k() < FEWEST_INTERMEDIATES || others < FEWEST_COLUMNS {
            return None;
        }
        let mut gram = self.gram.clone();
        own.iter().filter_map(|column| self.columns[*column].as_ref()).for_each(|c| add_outer(&mut gram, c, -1.0));
        let factor = Centred::new(&leading_eigenvector(gram, frame.k()));
        let [x, y] = [pair.x, pair.y].map(|column| Centred::new(&frame.columns[column].mean_ranks.doubled));
        let (xy, xg, yg) = (x.correlation(&y).ok()?, x.correlation(&factor).ok()?, y.correlation(&factor).ok()?);
        let rho = partial(xy, xg, yg)?;
        Some(Partial { rho: Some(rho), p: correlation_p(rho, frame.k() as f64 - 3.0) })
    }
}

/// Correlation of x and y with g held fixed; `None` if g leaves nothing of one of them.
fn partial(xy: f64, xg: f64, yg: f64) -> Option<f64> {
    let left = ((1.0 - xg * xg) * (1.0 - yg * yg)).sqrt();
    (left > 1e-12).then(|| ((xy - xg * yg) / left).clamp(-1.0, 1.0))
}

/// Mean of a table column for each intermediate of the frame; `None` if one has no score.
fn means(table: &ScoreTable, frame: &Frame, column: usize) -> Option<Vec<f64>> {
    let scores = &table.columns[column].scores;
    let mean_of = |&intermediate: &u32| {
        let start = table.rows.partition_point(|row| row.intermediate < intermediate);
        let end = table.rows.partition_point(|row| row.intermediate <= intermediate);
        let present: Vec<f64> = scores[start..end].iter().flatten().copied().collect();
        (!present.is_empty()).then(|| tied(mean(&present)))
    };
    frame.intermediates.iter().map(mean_of).collect()
}

fn unit_ranks(means: &[f64]) -> Option<Vec<f64>> {
    let ranks = Ranks::new(means);
    let length = ranks.squares.sqrt();
    (length > 0.0).then(|| ranks.doubled.iter().map(|rank| rank / length).collect())
}

fn add_outer(gram: &mut [f64], column: &[f64], factor: f64) {
    for (row, &left) in gram.chunks_exact_mut(column.len()).zip(column) {
        row.iter_mut().zip(column).for_each(|(cell, right)| *cell += factor * left * right);
    }
}

/// The eigenvector with the largest eigenvalue of a positive semidefinite matrix `[k, k]`, at unit length.
///
/// Power iteration; where it is slow, because the second eigenvalue is near the first, the matrix is squared, which
/// doubles the distance between their logarithms.
fn leading_eigenvector(mut matrix: Vec<f64>, k: usize) -> Vec<f64> {
    // A fixed start: the result must not depend on a clock. A random direction is almost never orthogonal to the
    // eigenvector.
    let mut rng = SplitMix64::new(0);
    let mut vector: Vec<f64> = (0..k).map(|_| rng.next_u64() as f64 / u64::MAX as f64 - 0.5).collect();
    for _ in 0..40 {
        for _ in 0..8 {
            let mut next: Vec<f64> = matrix.chunks_exact(k).map(|row| dot(row, &vector)).collect();
            let length = dot(&next, &next).sqrt();
            next.iter_mut().for_each(|x| *x /= length);
            let moved = next.iter().zip(&vector).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            vector = next;
            // Below the rounding of a unit vector's entries nothing moves any more.
            if moved < 1e-15 {
                return vector;
            }
        }
        matrix = squared(&matrix, k);
    }
    vector
}

/// The square of a symmetric matrix, divided by its trace so that it neither grows nor shrinks.
fn squared(matrix: &[f64], k: usize) -> Vec<f64> {
    let trace: f64 = dot(matrix, matrix);
    let rows: Vec<&[f64]> = matrix.chunks_exact(k).collect();
    rows.iter().flat_map(|a| rows.iter().map(|b| dot(a, b) / trace)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reference: (0.7 - 0.6 x 0.5) / sqrt((1 - 0.36)(1 - 0.25)), and its p-value by `t` of SciPy 1.17.1, printed by
    /// tools/golden/make_analysis_hand.py.
    #[test]
    fn partial_correlation_by_formula() {
        let rho = partial(0.7, 0.6, 0.5).unwrap();
        assert!((rho - 0.577_350_269_2).abs() < 1e-9, "{rho}");
        assert!((correlation_p(rho, 8.0).unwrap() - 0.080_516_238_0).abs() < 1e-9);
        assert_eq!(partial(0.7, 1.0, 0.7), None);
    }

    #[test]
    fn close_eigenvalues_are_told_apart() {
        // Eigenvectors (1, 1)/sqrt 2 and (1, -1)/sqrt 2 with eigenvalues 1 + 1e-9 and 1 - 1e-9.
        let vector = leading_eigenvector(vec![1.0, 1e-9, 1e-9, 1.0], 2);
        assert!((vector[0] / vector[1] - 1.0).abs() < 1e-6, "{vector:?}");
    }
}
