//! Few rows: each resample is ranked by walking the sorted columns.

use rayon::prelude::*;

use super::rho::rho;
use crate::coefficient::{Ranks, dot};
use crate::correlations::frame::{Frame, FramePair};

/// The correlation of each pair in each resample: `[pairs][resamples]`.
pub(super) fn rhos(frame: &Frame, pairs: &[FramePair], weights: &[u32]) -> Vec<Vec<f64>> {
    let of_rows: Vec<u32> = frame.clusters.iter().zip(0..).flat_map(|(rows, c)| rows.clone().map(move |_| c)).collect();
    let of_resample = |weight: &[u32]| resample(frame, pairs, &of_rows, weight);
    // Resamples outside and pairs inside: a column is ranked once per resample for all pairs that it is in.
    let by_resample: Vec<Vec<f64>> = weights.par_chunks(frame.k().max(1)).map(of_resample).collect();
    (0..pairs.len()).into_par_iter().map(|pair| by_resample.iter().map(|rhos| rhos[pair]).collect()).collect()
}

/// The correlation of each pair in one resample; `cluster_of` names the intermediate of each row.
fn resample(frame: &Frame, pairs: &[FramePair], cluster_of: &[u32], weight: &[u32]) -> Vec<f64> {
    let row_weights: Vec<u32> = cluster_of.iter().map(|&cluster| weight[cluster as usize]).collect();
    let rows = row_weights.iter().map(|w| u64::from(*w)).sum();
    let columns: Vec<Resampled> = frame.columns.iter().map(|c| Resampled::new(&c.ranks, &row_weights, rows)).collect();
    let of_pair = |pair: &FramePair| {
        let (x, y) = (&columns[pair.x], &columns[pair.y]);
        rho(dot(&x.weighted, &y.ranks), x.squares, y.squares, rows)
    };
    pairs.iter().map(of_pair).collect()
}

/// A column of one resample.
struct Resampled {
    /// Twice the centred average rank: `[rows]`.
    ranks: Vec<f64>,
    /// The same times how often the row was drawn.
    weighted: Vec<f64>,
    /// Weighted sum of squares of the ranks.
    squares: f64,
}

impl Resampled {
    fn new(column: &Ranks, row_weights: &[u32], rows: u64) -> Self {
        let mut ranks = vec![0.0; row_weights.len()];
        let (mut below, mut start) = (0, 0);
        for &group in &column.groups {
            let members = &column.order[start..start + group as usize];
            let equal: u64 = members.iter().map(|&row| u64::from(row_weights[row as usize])).sum();
            // Twice the average rank is a whole number, also where values tie: sums of products stay exact.
            let rank = (2 * below + equal) as f64 - rows as f64;
            members.iter().for_each(|&row| ranks[row as usize] = rank);
            below += equal;
            start += group as usize;
        }
        let weighted: Vec<f64> = ranks.iter().zip(row_weights).map(|(rank, w)| rank * f64::from(*w)).collect();
        let squares = dot(&weighted, &ranks);
        Self { ranks, weighted, squares }
    }
}
