//! Self-attention inside each sequence of a packed batch, forward and backward.
//!
//! Work items are sequences. Within one, each head's operands are copied into a small padded scratch and multiplied by
//! [`product`], whose inner loops run over whole lanes.

use crate::exp::exp;
use crate::philox::Dropout;
use crate::simd::{self, LANES};
use crate::threads::Threads;
use crate::tile::{Left, Tiled, cover, sum};
use crate::transpose::{copy_short, transpose};
use pulp::{Simd, WithSimd};

/// Heads of an attention; the scale of scores is 1 / sqrt(head_dim).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Shape {
    pub heads: usize,
    pub head_dim: usize,
}

/// Queries, keys and values; h = heads * head_dim, T tokens, S sequences.
#[derive(Debug, Clone, Copy)]
pub enum Qkv<'a> {
    /// Every token asks.
    All {
        /// q, k, v side by side, `[T, 3h]`.
        qkv: &'a [f32],
    },
    /// The first token of each sequence asks.
    FirstToken {
        /// `[S, h]`
        q: &'a [f32],
        /// k, v side by side, `[T, 2h]`.
        kv: &'a [f32],
    },
}

/// Gradients in the layout of [`Qkv`]; all overwritten.
#[derive(Debug)]
#[expect(missing_docs, reason = "as in Qkv")]
pub enum QkvGradient<'a> {
    All { qkv: &'a mut [f32] },
    FirstToken { q: &'a mut [f32], kv: &'a mut [f32] },
}

/// out = dropout(softmax(Q K^T / sqrt(head_dim))) V by sequence and head, `[queries, h]`; lse = ln sum exp of each
/// score row, `[queries, heads]`. Dropout is keyed by the query's row key and the key's place in its sequence.
///
/// # Panics
/// If a length does not fit.
pub fn forward(
    threads: &Threads,
    shape: Shape,
    cu_seqlens: &[u32],
    qkv: Qkv<'_>,
    dropout: Option<(&Dropout, &[u32])>,
    out: &mut [f32],
    lse: Option<&mut [f32]>,
) {
    let h = shape.heads * shape.head_dim;
    let sequences = Sequences::new(shape, cu_seqlens, qkv);
    assert_eq!(out.len(), sequences.queries() * h, "attention: out");
    let outs = sequences.split(out, h);
    let lses: Vec<Option<&mut [f32]>> = match lse {
        Some(lse) => sequences.split(lse, shape.heads).into_iter().map(Some).collect(),
        None => (0..outs.len()).map(|_| None).collect(),
    };
    let items = outs.into_iter().zip(lses).enumerate().collect();
    threads.for_each(items, |(number, (out, lse)): (usize, (&mut [f32], Option<&mut [f32]>))| {
        let sequence = sequences.get(number);
        threads.instructions().0.dispatch(Forward { sequence, shape, dropout, out, lse });
    });
}

/// Gradients of queries, keys and values from d_out `[queries, h]`; probabilities are made again from lse.
///
/// # Panics
/// If a length does not fit.
#[expect(clippy::too_many_arguments, reason = "what forward had, what it gave, and the gradients of both")]
pub fn backward(
    threads: &Threads,
    shape: Shape,
    cu_seqlens: &[u32],
    qkv: Qkv<'_>,
    out: &[f32],
    d_out: &[f32],
    lse: &[f32],
    dropout: Option<(&Dropout, &[u32])>,
    gradient: QkvGradient<'_>,
) {
    let h = shape.heads * shape.head_dim;
    let sequences = Sequences::new(shape, cu_seqlens, qkv);
    let queries = sequences.queries();
    assert_eq!([out.len(), d_out.len(), lse.len()], [queries * h, queries * h, queries * shape.heads], "attention");
    let targets: Vec<(&mut [f32], &mut [f32])> = match gradient {
        QkvGradient::All { qkv } => {
            let parts = sequences.split(qkv, 3 * h).into_iter();
            parts.map(|part| (part, Default::default())).collect()
        }
        QkvGradient::FirstToken { q, kv } => {
            sequences.split(q, h).into_iter().zip(split_rows(kv, cu_seqlens, 2 * h)).collect()
        }
    };
    let items = targets.into_iter().enumerate().collect();
    threads.for_each(items, |(number, (d_q, d_kv)): (usize, (&mut [f32], &mut [f32]))| {
        let sequence = sequences.get(number);
        let rows = sequence.first_query..sequence.first_query + sequence.queries;
        let (out, d_out) = (&out[rows.start * h..rows.end * h], &d_out[rows.start * h..rows.end * h]);
        let lse = &lse[rows.start * shape.heads..rows.end * shape.heads];
        threads.instructions().0.dispatch(Backward { sequence, shape, dropout, out, d_out, lse, d_q, d_kv });
    });
}

/// A batch of sequences, as work items.
struct Sequences<'a> {
    h: usize,
    cu_seqlens: &'a [u32],
    qkv: Qkv<'a>,
}

impl<'a> Sequences<'a> {
    fn new(shape: Shape, cu_seqlens: &'a [u32], qkv: Qkv<'a>) -> Self {
        let h = shape.heads * shape.head_dim;
        let tokens = cu_seqlens.last().map_or(0, |t| *t as usize);
        let sequences = cu_seqlens.len().saturating_sub(1);
        match qkv {
            Qkv::All { qkv } => assert_eq!(qkv.len(), tokens * 3 * h, "attention: qkv"),
            Qkv::FirstToken { q, kv } => {
                assert_eq!([q.len(), kv.len()], [sequences * h, tokens * 2 * h], "attention: q and kv");
            }
        }
        Sequences { h, cu_seqlens, qkv }
    }

    fn queries(&self) -> usize {
        match self.qkv {
            Qkv::All { .. } => self.cu_seqlens.last().map_or(0, |t| *t as usize),
            Qkv::FirstToken { .. } => self.cu_seqlens.len().saturating_sub(1),
        }
    }

    /// The query rows of each sequence.
    fn split<'b>(&self, data: &'b mut [f32], columns: usize) -> Vec<&'b mut [f32]> {
        match self.qkv {
            Qkv::All { .. } => split_rows(data, self.cu_seqlens, columns),
            Qkv::FirstToken { .. } => data.chunks_exact_mut(columns).collect(),
        }
    }

    fn get(&self, number: usize) -> Sequence<'a> {
        let (start, end) = (self.cu_seqlens[number] as usize, self.cu_seqlens[number + 1] as usize);
        let (h, keys) = (self.h, end - start);
        match self.qkv {
            Qkv::All { qkv } => {
                let rows = &qkv[start * 3 * h..end * 3 * h];
                let view = |block: usize| View { data: rows, stride: 3 * h, offset: block * h };
                let fused = true;
                Sequence { keys, queries: keys, first_query: start, q: view(0), k: view(1), v: view(2), fused }
            }
            Qkv::FirstToken { q, kv } => {
                let rows = &kv[start * 2 * h..end * 2 * h];
                let view = |block: usize| View { data: rows, stride: 2 * h, offset: block * h };
                let q = View { data: &q[number * h..][..h], stride: h, offset: 0 };
                // An empty sequence asks nothing; its query row keeps a zero output.
                Sequence { keys, queries: 1, first_query: number, q, k: view(0), v: view(1), fused: false }
            }
        }
    }
}

fn split_rows<'b>(mut data: &'b mut [f32], cu_seqlens: &[u32], columns: usize) -> Vec<&'b mut [f32]> {
    let mut parts = Vec::with_capacity(cu_seqlens.len());
    for pair in cu_seqlens.windows(2) {
        let (part, rest) = data.split_at_mut((pair[1] - pair[0]) as usize * columns);
        parts.push(part);
        data = rest;
    }
    parts
}

/// Columns of a row-major matrix: row r, head a starts at r * stride + offset + a * head_dim.
#[derive(Clone, Copy)]
struct View<'a> {
    data: &'a [f32],
    stride: usize,
    offset: usize,
}

struct Sequence<'a> {
    keys: usize,
    queries: usize,
    /// Row of its first query in out and lse.
    first_query: usize,
    q: View<'a>,
    k: View<'a>,
    v: View<'a>,
    /// Whether the three gradients share one buffer.
    fused: bool,
}

/// The forward pass of one sequence.
struct Forward<'a> {
    sequence: Sequence<'a>,
    shape: Shape,
    dropout: Option<(&'a Dropout, &'a [u32])>,
    out: &'a mut [f32],
    lse: Option<&'a mut [f32]>,
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Forward { sequence, shape, dropout, out, mut lse } = self;
        let (d, h) = (shape.head_dim, shape.heads * shape.head_dim);
        if sequence.keys == 0 {
            out.fill(0.0);
            lse.into_iter().for_each(|lse| lse.fill(0.0));
            return;
        }
        let (keys, dim) = (padded(sequence.keys), padded(d));
        let scale = 1.0 / (d as f32).sqrt();
        let mut k_t = vec![0.0; d * keys];
        let (mut q, mut v) = (vec![0.0; sequence.queries * dim], vec![0.0; sequence.keys * dim]);
        let mut scores = vec![0.0; sequence.queries * keys];
        let mut extremes = vec![(0.0, 0.0); sequence.queries];
        let mut context = vec![0.0; sequence.queries * dim];
        let mut masks = vec![0.0; if dropout.is_some() { scores.len() } else { 0 }];
        for head in 0..shape.heads {
            sequence.k.transpose(simd, head * d, d, keys, &mut k_t);
            sequence.q.copy(head * d, d, dim, &mut q);
            sequence.v.copy(head * d, d, dim, &mut v);
            simd.vectorize(Product {
                rows: sequence.queries,
                depth: d,
                width: keys,
                left: Left::Rows { data: &q, stride: dim },
                right: &k_t,
                c: &mut scores,
            });
            for (i, row) in scores.chunks_exact_mut(keys).enumerate() {
                extremes[i] = softmax(row, sequence.keys, scale);
            }
            if let Some(lse) = &mut lse {
                for (lse, (max, sum)) in lse.chunks_exact_mut(shape.heads).zip(&extremes) {
                    lse[head] = max + sum.ln();
                }
            }
            if let Some((dropout, row_keys)) = dropout {
                let row_keys = &row_keys[sequence.first_query..][..sequence.queries];
                dropout.with_head(head as u32).fill_rows(row_keys, sequence.keys, keys, &mut masks);
                scores.iter_mut().zip(&masks).for_each(|(p, m)| *p *= m);
            }
            simd.vectorize(Product {
                rows: sequence.queries,
                depth: sequence.keys,
                width: dim,
                left: Left::Rows { data: &scores, stride: keys },
                right: &v,
                c: &mut context,
            });
            for i in 0..sequence.queries {
                copy_short(&context[i * dim..][..d], &mut out[i * h + head * d..][..d]);
            }
        }
    }
}

/// The backward pass of one sequence.
struct Backward<'a> {
    sequence: Sequence<'a>,
    shape: Shape,
    dropout: Option<(&'a Dropout, &'a [u32])>,
    out: &'a [f32],
    d_out: &'a [f32],
    lse: &'a [f32],
    d_q: &'a mut [f32],
    d_kv: &'a mut [f32],
}

impl WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Backward { sequence, shape, dropout, out, d_out, lse, d_q, d_kv } = self;
        let (d, h) = (shape.head_dim, shape.heads * shape.head_dim);
        if sequence.keys == 0 {
            d_q.fill(0.0);
            return;
        }
        let (keys, dim, queries) = (padded(sequence.keys), padded(d), sequence.queries);
        let scale = 1.0 / (d as f32).sqrt();
        let (mut k_t, mut v_t) = (vec![0.0; d * keys], vec![0.0; d * keys]);
        let (mut q, mut k, mut d_o) =
            (vec![0.0; queries * dim], vec![0.0; sequence.keys * dim], vec![0.0; queries * dim]);
        let (mut p, mut d_s) = (vec![0.0; queries * keys], vec![0.0; queries * keys]);
        let mut masks = vec![1.0; queries * keys];
        let mut result = vec![0.0; queries.max(sequence.keys) * dim];
        let d_out_view = View { data: d_out, stride: h, offset: 0 };
        for head in 0..shape.heads {
            let at = head * d;
            sequence.k.transpose(simd, at, d, keys, &mut k_t);
            sequence.v.transpose(simd, at, d, keys, &mut v_t);
            sequence.q.copy(at, d, dim, &mut q);
            sequence.k.copy(at, d, dim, &mut k);
            d_out_view.copy(at, d, dim, &mut d_o);
            simd.vectorize(Product {
                rows: queries,
                depth: d,
                width: keys,
                left: Left::Rows { data: &q, stride: dim },
                right: &k_t,
                c: &mut p,
            });
            simd.vectorize(Product {
                rows: queries,
                depth: d,
                width: keys,
                left: Left::Rows { data: &d_o, stride: dim },
                right: &v_t,
                c: &mut d_s,
            });
            if let Some((dropout, row_keys)) = dropout {
                let row_keys = &row_keys[sequence.first_query..][..queries];
                dropout.with_head(head as u32).fill_rows(row_keys, sequence.keys, keys, &mut masks);
            }
            for i in 0..queries {
                let (o, d_o) = (&out[i * h + at..][..d], &d_out[i * h + at..][..d]);
                let mean = simd::dot(o, d_o);
                // What whole rows hold beyond the last key is never read.
                let row = i * keys..(i + 1) * keys;
                let rows = p[row.clone()].iter_mut().zip(&mut d_s[row.clone()]).zip(&masks[row]);
                let log_sum = lse[i * shape.heads + head];
                for ((p, d_s), mask) in rows {
                    let probability = exp(p.mul_add(scale, -log_sum));
                    *d_s = probability * d_s.mul_add(*mask, -mean) * scale;
                    *p = probability * mask;
                }
            }
            let (k_block, v_block, k_stride) = if sequence.fused { (h, 2 * h, 3 * h) } else { (0, h, 2 * h) };
            // d_q = d_scores K
            simd.vectorize(Product {
                rows: queries,
                depth: sequence.keys,
                width: dim,
                left: Left::Rows { data: &d_s, stride: keys },
                right: &k,
                c: &mut result,
            });
            scatter(queries, d, dim, &result, if sequence.fused { 3 * h } else { h }, at, d_q);
            let kv_target = if sequence.fused { &mut *d_q } else { &mut *d_kv };
            // d_k = d_scores^T Q
            simd.vectorize(Product {
                rows: sequence.keys,
                depth: queries,
                width: dim,
                left: Left::Columns { data: &d_s, stride: keys },
                right: &q,
                c: &mut result,
            });
            scatter(sequence.keys, d, dim, &result, k_stride, k_block + at, kv_target);
            // d_v = dropout(P)^T d_out
            simd.vectorize(Product {
                rows: sequence.keys,
                depth: queries,
                width: dim,
                left: Left::Columns { data: &p, stride: keys },
                right: &d_o,
                c: &mut result,
            });
            scatter(sequence.keys, d, dim, &result, k_stride, v_block + at, kv_target);
        }
    }
}

impl View<'_> {
    /// Columns at..at+d of every row, into rows of `width`.
    #[inline(always)]
    fn copy(self, at: usize, d: usize, width: usize, out: &mut [f32]) {
        for (row, out) in self.data.chunks_exact(self.stride).zip(out.chunks_exact_mut(width)) {
            copy_short(&row[self.offset + at..][..d], &mut out[..d]);
        }
    }

    /// The same transposed, `[d, width]`.
    #[inline(always)]
    fn transpose<S: Simd>(self, simd: S, at: usize, d: usize, width: usize, out: &mut [f32]) {
        transpose(simd, &self.data[self.offset + at..], self.stride, self.data.len() / self.stride, d, out, width);
    }
}

/// row = softmax(row * scale) over the first `keys` of it and 0 beyond, so that whole vectors are worked on; returns the
/// largest scaled score, and the sum of the exponentials of the scores less that.
#[inline(always)]
fn softmax(row: &mut [f32], keys: usize, scale: f32) -> (f32, f32) {
    let chunks = row.as_chunks_mut::<LANES>().0;
    let mut largest = [f32::NEG_INFINITY; LANES];
    for (number, chunk) in chunks.iter_mut().enumerate() {
        let left = (keys - number * LANES) as u32;
        for lane in 0..LANES {
            let score = if (lane as u32) < left { chunk[lane] * scale } else { f32::NEG_INFINITY };
            chunk[lane] = score;
            largest[lane] = if score > largest[lane] { score } else { largest[lane] };
        }
    }
    for half in [8, 4, 2, 1] {
        for lane in 0..half {
            let other = largest[lane + half];
            largest[lane] = if other > largest[lane] { other } else { largest[lane] };
        }
    }
    let max = largest[0];
    let mut sums = [0.0f32; LANES];
    for (number, chunk) in chunks.iter_mut().enumerate() {
        let left = (keys - number * LANES) as u32;
        for lane in 0..LANES {
            let exponential = exp(chunk[lane] - max);
            chunk[lane] = if (lane as u32) < left { exponential } else { 0.0 };
            sums[lane] += chunk[lane];
        }
    }
    let sum: f32 = sums.iter().sum();
    let inverse = 1.0 / sum;
    row.iter_mut().for_each(|p| *p *= inverse);
    (max, sum)
}

#[inline(always)]
fn scatter(rows: usize, d: usize, width: usize, from: &[f32], stride: usize, offset: usize, to: &mut [f32]) {
    for r in 0..rows {
        copy_short(&from[r * width..][..d], &mut to[r * stride + offset..][..d]);
    }
}

/// Whole lane arrays, hence whole vectors.
fn padded(n: usize) -> usize {
    n.next_multiple_of(LANES)
}

/// c = left right with left `[rows, depth]`, right `[depth, width]`, c `[rows, width]`; width is in whole vectors.
struct Product<'a> {
    rows: usize,
    depth: usize,
    width: usize,
    left: Left<'a>,
    right: &'a [f32],
    c: &'a mut [f32],
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        cover(simd, self.rows, &mut self);
    }
}

impl Tiled for Product<'_> {
    const VECTORS: usize = 2;

    #[inline(always)]
    fn tile<S: Simd, const ROWS: usize>(&mut self, simd: S, row: usize) {
        let vectors = self.width / S::F32_LANES;
        for column in (0..vectors / 2 * 2).step_by(2) {
            self.columns::<S, ROWS, 2>(simd, row, column);
        }
        if !vectors.is_multiple_of(2) {
            self.columns::<S, ROWS, 1>(simd, row, vectors - 1);
        }
    }
}

impl Product<'_> {
    /// Rows `row..row + ROWS` of the vectors from `first` on.
    #[inline(always)]
    fn columns<S: Simd, const ROWS: usize, const VECTORS: usize>(&mut self, simd: S, row: usize, first: usize) {
        let (right, _) = S::as_simd_f32s(self.right);
        let vectors = self.width / S::F32_LANES;
        let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
        sum(
            simd,
            self.left,
            row,
            self.depth,
            #[inline(always)]
            |k| *right[k * vectors + first..].first_chunk().expect("a tile lies within the width"),
            &mut sums,
        );
        for (r, sums) in sums.iter().enumerate() {
            let (row, _) = S::as_mut_simd_f32s(&mut self.c[(row + r) * self.width..][..self.width]);
            row[first..first + VECTORS].copy_from_slice(sums);
        }
    }
}

#[cfg(test)]
mod tests;
