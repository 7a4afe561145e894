//! The forward pass of one sequence.

use super::product::{Product, padded};
use super::sequence::{Sequence, Shape};
use crate::exp::exp;
use crate::philox::Dropout;
use crate::simd::LANES;
use crate::tile::Left;
use crate::transpose::copy_short;
use pulp::{Simd, WithSimd};

/// One sequence: its operands, and where its results go.
pub(super) struct Forward<'a> {
    pub(super) sequence: Sequence<'a>,
    pub(super) shape: Shape,
    pub(super) dropout: Option<(Dropout, &'a [u32])>,
    /// `[queries, h]`
    pub(super) out: &'a mut [f32],
    /// `[queries, heads]`
    pub(super) lse: Option<&'a mut [f32]>,
}

/// Operands and results of one head; the memory serves one head after the other.
// What lies beyond the last column of a padded row is zero from the start and stays so, or is never read.
struct Scratch {
    /// Keys, padded: the width of scores.
    keys: usize,
    /// Width of a head, padded.
    dim: usize,
    /// Keys transposed, `[head_dim, keys]`: scores are then sums over whole rows.
    k_t: Vec<f32>,
    q: Vec<f32>,
    v: Vec<f32>,
    /// Scores, then probabilities, `[queries, keys]`.
    scores: Vec<f32>,
    /// Largest scaled score of each row, and the sum of its exponentials.
    extremes: Vec<(f32, f32)>,
    /// `[queries, dim]`
    context: Vec<f32>,
    /// Dropout multipliers, in the layout of scores; empty without dropout.
    masks: Vec<f32>,
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        if self.sequence.keys == 0 {
            self.out.fill(0.0);
            self.lse.into_iter().for_each(|lse| lse.fill(0.0));
            return;
        }
        let mut scratch = Scratch::new(&self.sequence, self.shape.head_dim, self.dropout.is_some());
        for head in 0..self.shape.heads {
            self.probabilities(simd, head, &mut scratch);
            self.context(simd, head, &mut scratch);
        }
    }
}

impl Scratch {
    fn new(sequence: &Sequence<'_>, head_dim: usize, dropout: bool) -> Self {
        let (keys, dim) = (padded(sequence.keys), padded(head_dim));
        Self {
            keys,
            dim,
            k_t: vec![0.0; head_dim * keys],
            q: vec![0.0; sequence.queries * dim],
            v: vec![0.0; sequence.keys * dim],
            scores: vec![0.0; sequence.queries * keys],
            extremes: vec![(0.0, 0.0); sequence.queries],
            context: vec![0.0; sequence.queries * dim],
            masks: vec![0.0; if dropout { sequence.queries * keys } else { 0 }],
        }
    }
}

impl Forward<'_> {
    /// The probabilities of one head, after dropout, in `scratch.scores`; their lse in place.
    #[inline(always)]
    fn probabilities<S: Simd>(&mut self, simd: S, head: usize, scratch: &mut Scratch) {
        let (sequence, d, keys) = (&self.sequence, self.shape.head_dim, scratch.keys);
        sequence.k.transpose(simd, head * d, d, keys, &mut scratch.k_t);
        sequence.q.copy(head * d, d, scratch.dim, &mut scratch.q);
        simd.vectorize(Product {
            rows: sequence.queries,
            depth: d,
            width: keys,
            left: Left::Rows { data: &scratch.q, stride: scratch.dim },
            right: &scratch.k_t,
            c: &mut scratch.scores,
        });
        let scale = 1.0 / (d as f32).sqrt();
        for (row, extremes) in scratch.scores.chunks_exact_mut(keys).zip(&mut scratch.extremes) {
            *extremes = softmax(row, sequence.keys, scale);
        }
        if let Some(lse) = &mut self.lse {
            for (lse, (max, sum)) in lse.chunks_exact_mut(self.shape.heads).zip(&scratch.extremes) {
                // Of scaled scores, so that exp(score - lse) is the probability.
                lse[head] = max + sum.ln();
            }
        }
        if let Some((dropout, row_keys)) = self.dropout {
            let row_keys = &row_keys[sequence.first_query..][..sequence.queries];
            dropout.with_head(head as u32).fill_rows(row_keys, sequence.keys, keys, &mut scratch.masks);
            // After lse: the backward pass needs the probabilities without dropout, and makes the masks again.
            scratch.scores.iter_mut().zip(&scratch.masks).for_each(|(p, m)| *p *= m);
        }
    }

    /// The probabilities times the values, into the head's columns of `out`.
    #[inline(always)]
    fn context<S: Simd>(&mut self, simd: S, head: usize, scratch: &mut Scratch) {
        let (sequence, d, h, dim) = (&self.sequence, self.shape.head_dim, self.shape.width(), scratch.dim);
        sequence.v.copy(head * d, d, dim, &mut scratch.v);
        simd.vectorize(Product {
            rows: sequence.queries,
            depth: sequence.keys,
            width: dim,
            left: Left::Rows { data: &scratch.scores, stride: scratch.keys },
            right: &scratch.v,
            c: &mut scratch.context,
        });
        for i in 0..sequence.queries {
            copy_short(&scratch.context[i * dim..][..d], &mut self.out[i * h + head * d..][..d]);
        }
    }
}

/// row = softmax(row * scale) over the first `keys` of it and 0 beyond, so that loops run over whole vectors; returns the
/// largest scaled score, and the sum of the exponentials of the scores less that.
#[inline(always)]
fn softmax(row: &mut [f32], keys: usize, scale: f32) -> (f32, f32) {
    let chunks = row.as_chunks_mut::<LANES>().0;
    let max = scale_and_max(chunks, keys, scale);
    let mut sums = [0.0f32; LANES];
    for (number, chunk) in chunks.iter_mut().enumerate() {
        let left = (keys - number * LANES) as u32;
        for lane in 0..LANES {
            // The exponential of the padding is computed, too: a branch would keep the loop from being vectorised.
            let exponential = exp(chunk[lane] - max);
            chunk[lane] = if (lane as u32) < left { exponential } else { 0.0 };
            sums[lane] += chunk[lane];
        }
    }
    let sum: f32 = sums.iter().sum();
    // One division a row, and a product an element.
    let inverse = 1.0 / sum;
    row.iter_mut().for_each(|p| *p *= inverse);
    (max, sum)
}

/// Scales a row in place, puts minus infinity beyond its last key, and returns the largest score.
// Comparisons instead of `f32::max`: they are one vector instruction, where `f32::max` adds a test for NaN. Neither would
// return a NaN score, but its exponential is NaN, and so is the sum.
#[inline(always)]
fn scale_and_max(chunks: &mut [[f32; LANES]], keys: usize, scale: f32) -> f32 {
    let mut largest = [f32::NEG_INFINITY; LANES];
    for (number, chunk) in chunks.iter_mut().enumerate() {
        let left = (keys - number * LANES) as u32;
        for lane in 0..LANES {
            let score = if (lane as u32) < left { chunk[lane] * scale } else { f32::NEG_INFINITY };
            chunk[lane] = score;
            largest[lane] = if score > largest[lane] { score } else { largest[lane] };
        }
    }
    // Halves against halves: four vector steps, where one lane after the other would be fifteen.
    for half in [8, 4, 2, 1] {
        for lane in 0..half {
            let other = largest[lane + half];
            largest[lane] = if other > largest[lane] { other } else { largest[lane] };
        }
    }
    largest[0]
}
