//! The cluster permutation test: the restarts of one intermediate task move together, so that they count once.
//!
//! Each permutation pairs the intermediates of x with those of y in a new order. With S[c, d] = sum over restarts of
//! (rank of x in c) (rank of y in d)
//! the statistic of a permutation pi is sum over c of S[c, pi(c)]: k additions. Eight pairs are computed side by side, so
//! that one step reads one cache line and adds eight numbers. All sums are of whole numbers, hence exact.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::frame::{Frame, FramePair};
use crate::coefficient::{Ranks, dot};

/// Fewest intermediates: three have only six permutations, too few for a small p.
const FEWEST: usize = 4;

/// Pairs that are computed side by side.
// Eight f64 are one cache line and one AVX-512 register.
const LANES: usize = 8;

/// A permuted correlation is at least as large as another if it is not smaller by more than this.
// The sums are exact; only the division by the perfect value rounds, by far less than this.
const TIE: f64 = 1e-9;

/// The units that are permuted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PermutedOn {
    /// All rows, intermediate by intermediate; needs the same seeds in every intermediate.
    Rows,
    /// The means of the intermediates.
    Means,
}

/// A pair that can be permuted.
pub(super) struct Permutable {
    /// Its place among all pairs.
    pub(super) index: usize,
    pub(super) on: PermutedOn,
    /// |correlation| as observed.
    pub(super) observed: f64,
    /// True if the pair belongs to the family of the maximum.
    in_maximum: bool,
    /// S: `[k, k]`.
    table: Vec<f64>,
    /// Statistic of a perfect correlation.
    perfect: f64,
}

/// The p-values of the pairs of one frame.
pub(super) struct Permuted {
    /// In the order of the pairs.
    pub(super) p: Vec<f64>,
    /// For each permutation the largest |correlation| of the family of the maximum: `[permutations]`.
    pub(super) maxima: Vec<f64>,
}

/// `None` if the pair has too few intermediates, or what would be permuted is constant.
pub(super) fn permutable(frame: &Frame, pair: &FramePair, in_maximum: bool) -> Option<Permutable> {
    let k = frame.k();
    if k < FEWEST {
        return None;
    }
    let (x, y) = (&frame.columns[pair.x], &frame.columns[pair.y]);
    let on = if frame.balanced { PermutedOn::Rows } else { PermutedOn::Means };
    let (table, perfect) = match on {
        PermutedOn::Rows => (row_table(frame, &x.ranks, &y.ranks), perfect(&x.ranks, &y.ranks)),
        PermutedOn::Means => (mean_table(&x.mean_ranks, &y.mean_ranks), perfect(&x.mean_ranks, &y.mean_ranks)),
    };
    let diagonal: f64 = (0..k).map(|c| table[c * k + c]).sum();
    let observed = diagonal.abs() / perfect;
    (perfect > 0.0).then_some(Permutable { index: pair.index, on, observed, in_maximum, table, perfect })
}

fn perfect(x: &Ranks, y: &Ranks) -> f64 {
    (x.squares * y.squares).sqrt()
}

fn row_table(frame: &Frame, x: &Ranks, y: &Ranks) -> Vec<f64> {
    let of_x = frame.clusters.iter().map(|cluster| &x.doubled[cluster.clone()]);
    of_x.flat_map(|x| frame.clusters.iter().map(|cluster| dot(x, &y.doubled[cluster.clone()]))).collect()
}

fn mean_table(x: &Ranks, y: &Ranks) -> Vec<f64> {
    x.doubled.iter().flat_map(|x| y.doubled.iter().map(move |y| x * y)).collect()
}

/// Permutes the pairs of one frame by `orders` `[permutations, k]`.
pub(super) fn permute(pairs: &[Permutable], orders: &[u32], k: usize) -> Permuted {
    let count = orders.len() / k.max(1);
    let of_block = |block: &[Permutable]| {
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || permute_block(block, orders, k),
        )
    };
    let blocks: Vec<(Vec<u64>, Vec<f64>)> = pairs.par_chunks(LANES).map(of_block).collect();
    // The observed order is itself one of the permutations, so that p is never 0 (Phipson and Smyth 2010).
    let p = |hits: &u64| (1.0 + *hits as f64) / (1.0 + count as f64);
    let mut maxima = vec![0.0; count];
    for (_, block) in &blocks {
        maxima.iter_mut().zip(block).for_each(|(largest, found): (&mut f64, _)| *largest = largest.max(*found));
    }
    Permuted { p: blocks.iter().flat_map(|(hits, _)| hits.iter().map(p)).collect(), maxima }
}

/// For each pair how often its statistic is reached, and for each permutation the largest |correlation|.
#[inline(always)] // so that it is compiled for the instruction set of its caller
fn permute_block(pairs: &[Permutable], orders: &[u32], k: usize) -> (Vec<u64>, Vec<f64>) {
    let mut table = vec![[0.0; LANES]; k * k];
    let (mut least, mut scale) = ([f64::INFINITY; LANES], [0.0; LANES]);
    for (lane, pair) in pairs.iter().enumerate() {
        table.iter_mut().zip(&pair.table).for_each(|(cell, value)| cell[lane] = *value);
        // Compared before the division by the perfect value, which saves a division per permutation.
        least[lane] = (pair.observed - TIE) * pair.perfect;
        scale[lane] = if pair.in_maximum { 1.0 / pair.perfect } else { 0.0 };
    }
    let mut hits = [0u64; LANES];
    let mut maxima = Vec::with_capacity(orders.len() / k);
    for order in orders.chunks_exact(k) {
        let mut sums = [0.0; LANES];
        for (row, &d) in table.chunks_exact(k).zip(order) {
            let cell = &row[d as usize];
            for lane in 0..LANES {
                sums[lane] += cell[lane];
            }
        }
        let mut largest = 0.0;
        for lane in 0..LANES {
            let size = sums[lane].abs();
            hits[lane] += u64::from(size >= least[lane]);
            let correlation = size * scale[lane];
            largest = if correlation > largest { correlation } else { largest };
        }
        maxima.push(largest);
    }
    (hits[..pairs.len()].to_vec(), maxima)
}

/// p-value of the maximum: how often the largest |correlation| of the family reaches `observed`.
pub(super) fn maximum_p(sorted_maxima: &[f64], observed: f64) -> f64 {
    let below = sorted_maxima.partition_point(|largest| *largest < observed - TIE);
    (1.0 + (sorted_maxima.len() - below) as f64) / (1.0 + sorted_maxima.len() as f64)
}
