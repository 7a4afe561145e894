//! The backward pass of one sequence.

use super::product::{Product, padded};
use super::sequence::{Sequence, Shape, Target, View};
use crate::exp::exp;
use crate::philox::Dropout;
use crate::simd;
use crate::tile::Left;
use pulp::{Simd, WithSimd};

/// One sequence: its operands, the gradient of its output, and where its gradients go.
pub(super) struct Backward<'a> {
    pub(super) sequence: Sequence<'a>,
    pub(super) shape: Shape,
    pub(super) dropout: Option<(Dropout, &'a [u32])>,
    /// `[queries, h]`
    pub(super) out: &'a [f32],
    /// `[queries, h]`
    pub(super) d_out: &'a [f32],
    /// `[queries, heads]`
    pub(super) lse: &'a [f32],
    pub(super) target: Target<'a>,
}

/// Operands and results of one head; the memory serves one head after the other.
struct Scratch {
    /// Keys, padded: the width of scores.
    keys: usize,
    /// Width of a head, padded.
    dim: usize,
    /// Keys and values transposed, `[head_dim, keys]`: right operands of scores and of d_p.
    k_t: Vec<f32>,
    v_t: Vec<f32>,
    /// `[rows, dim]`: right operands of the gradients of keys, queries and values.
    q: Vec<f32>,
    k: Vec<f32>,
    d_out: Vec<f32>,
    /// Scores, then probabilities after dropout, `[queries, keys]`.
    p: Vec<f32>,
    /// Gradients of the probabilities, then of the scores, `[queries, keys]`.
    d_s: Vec<f32>,
    /// Dropout multipliers, in the layout of scores; all 1 without dropout, so that one loop serves both.
    masks: Vec<f32>,
    /// A gradient before it is copied to its target, `[rows, dim]`.
    result: Vec<f32>,
}

impl WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        if self.sequence.keys == 0 {
            self.target.clear();
            return;
        }
        let mut scratch = Scratch::new(&self.sequence, self.shape.head_dim);
        for head in 0..self.shape.heads {
            self.load(simd, head, &mut scratch);
            self.products_of_scores(simd, &mut scratch);
            self.score_gradients(head, &mut scratch);
            self.write_gradients(simd, head, &mut scratch);
        }
    }
}

impl Scratch {
    fn new(sequence: &Sequence<'_>, head_dim: usize) -> Self {
        let (keys, dim, queries) = (padded(sequence.keys), padded(head_dim), sequence.queries);
        Self {
            keys,
            dim,
            k_t: vec![0.0; head_dim * keys],
            v_t: vec![0.0; head_dim * keys],
            q: vec![0.0; queries * dim],
            k: vec![0.0; sequence.keys * dim],
            d_out: vec![0.0; queries * dim],
            p: vec![0.0; queries * keys],
            d_s: vec![0.0; queries * keys],
            masks: vec![1.0; queries * keys],
            result: vec![0.0; queries.max(sequence.keys) * dim],
        }
    }
}

impl Backward<'_> {
    /// Copies one head's operands, and makes its masks.
    #[inline(always)]
    fn load<S: Simd>(&self, simd: S, head: usize, scratch: &mut Scratch) {
        let (sequence, d, at) = (&self.sequence, self.shape.head_dim, head * self.shape.head_dim);
        let (keys, dim) = (scratch.keys, scratch.dim);
        sequence.k.transpose(simd, at, d, keys, &mut scratch.k_t);
        sequence.v.transpose(simd, at, d, keys, &mut scratch.v_t);
        sequence.q.copy(at, d, dim, &mut scratch.q);
        sequence.k.copy(at, d, dim, &mut scratch.k);
        View { data: self.d_out, stride: self.shape.width(), offset: 0 }.copy(at, d, dim, &mut scratch.d_out);
        if let Some((dropout, row_keys)) = self.dropout {
            let row_keys = &row_keys[sequence.first_query..][..sequence.queries];
            dropout.with_head(head as u32).fill_rows(row_keys, sequence.keys, keys, &mut scratch.masks);
        }
    }

    /// p = Q K^T and d_s = d_out V^T: the scores once more, and the gradients of the probabilities.
    #[inline(always)]
    fn products_of_scores<S: Simd>(&self, simd: S, scratch: &mut Scratch) {
        let (rows, depth) = (self.sequence.queries, self.shape.head_dim);
        let (width, stride) = (scratch.keys, scratch.dim);
        let left = Left::Rows { data: &scratch.q, stride };
        simd.vectorize(Product { rows, depth, width, left, right: &scratch.k_t, c: &mut scratch.p });
        let left = Left::Rows { data: &scratch.d_out, stride };
        simd.vectorize(Product { rows, depth, width, left, right: &scratch.v_t, c: &mut scratch.d_s });
    }

    /// d_s = P (mask d_p - sum over keys of P mask d_p) / sqrt(head_dim), and p = mask P.
    // That sum is the dot product of out and d_out: a pass over a head's width instead of one over all keys.
    #[inline(always)]
    fn score_gradients(&self, head: usize, scratch: &mut Scratch) {
        let (d, h, keys) = (self.shape.head_dim, self.shape.width(), scratch.keys);
        let scale = 1.0 / (d as f32).sqrt();
        for i in 0..self.sequence.queries {
            let at = i * h + head * d;
            let mean = simd::dot(&self.out[at..][..d], &self.d_out[at..][..d]);
            let log_sum = self.lse[i * self.shape.heads + head];
            // Whole rows, padding included: what they hold beyond the last key is never read.
            let row = i * keys..(i + 1) * keys;
            let (p, d_s) = (&mut scratch.p[row.clone()], &mut scratch.d_s[row.clone()]);
            for ((p, d_s), mask) in p.iter_mut().zip(d_s).zip(&scratch.masks[row]) {
                let probability = exp(p.mul_add(scale, -log_sum));
                *d_s = probability * d_s.mul_add(*mask, -mean) * scale;
                *p = probability * mask;
            }
        }
    }

    /// d_q = d_s K, d_k = d_s^T Q and d_v = p^T d_out, into the head's columns of the target.
    #[inline(always)]
    fn write_gradients<S: Simd>(&mut self, simd: S, head: usize, scratch: &mut Scratch) {
        let Scratch { keys: stride, dim: width, q, k, d_out, p, d_s, result, .. } = scratch;
        let (queries, keys) = (self.sequence.queries, self.sequence.keys);
        let (d, at, stride, width) = (self.shape.head_dim, head * self.shape.head_dim, *stride, *width);
        // d_s and p are read by rows for queries and by columns for keys and values: nothing is transposed here.
        let left = Left::Rows { data: d_s, stride };
        simd.vectorize(Product { rows: queries, depth: keys, width, left, right: k, c: result });
        self.target.q().scatter(queries, result, width, at, d);
        let left = Left::Columns { data: d_s, stride };
        simd.vectorize(Product { rows: keys, depth: queries, width, left, right: q, c: result });
        self.target.k().scatter(keys, result, width, at, d);
        let left = Left::Columns { data: p, stride };
        simd.vectorize(Product { rows: keys, depth: queries, width, left, right: d_out, c: result });
        self.target.v().scatter(keys, result, width, at, d);
    }
}
