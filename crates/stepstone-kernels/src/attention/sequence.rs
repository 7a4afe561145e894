//! The sequences of a batch as work items: where their queries, keys, values and gradients lie.

use crate::transpose::{copy_short, transpose};
use pulp::Simd;

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
    /// Every token has a query.
    All {
        /// q, k, v side by side, `[T, 3h]`.
        qkv: &'a [f32],
    },
    /// Only the first token of each sequence has a query.
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

impl Shape {
    /// h, the width of all heads.
    pub(super) fn width(self) -> usize {
        self.heads * self.head_dim
    }
}

/// A batch of sequences, as work items.
pub(super) struct Sequences<'a> {
    h: usize,
    cu_seqlens: &'a [u32],
    qkv: Qkv<'a>,
}

impl<'a> Sequences<'a> {
    /// # Panics
    /// If a length does not fit.
    pub(super) fn new(shape: Shape, cu_seqlens: &'a [u32], qkv: Qkv<'a>) -> Self {
        let h = shape.width();
        let tokens = cu_seqlens.last().map_or(0, |t| *t as usize);
        let sequences = cu_seqlens.len().saturating_sub(1);
        match qkv {
            Qkv::All { qkv } => assert_eq!(qkv.len(), tokens * 3 * h, "attention: qkv"),
            Qkv::FirstToken { q, kv } => {
                assert_eq!([q.len(), kv.len()], [sequences * h, tokens * 2 * h], "attention: q and kv");
            }
        }
        Self { h, cu_seqlens, qkv }
    }

    pub(super) fn queries(&self) -> usize {
        match self.qkv {
            Qkv::All { .. } => self.cu_seqlens.last().map_or(0, |t| *t as usize),
            Qkv::FirstToken { .. } => self.cu_seqlens.len().saturating_sub(1),
        }
    }

    /// The query rows of each sequence.
    pub(super) fn split<'b>(&self, data: &'b mut [f32], columns: usize) -> Vec<&'b mut [f32]> {
        match self.qkv {
            Qkv::All { .. } => split_rows(data, self.cu_seqlens, columns),
            // One row per sequence, also for an empty one.
            Qkv::FirstToken { .. } => data.chunks_exact_mut(columns).collect(),
        }
    }

    /// Where the gradients of each sequence go.
    pub(super) fn targets<'b>(&self, gradient: QkvGradient<'b>) -> Vec<Target<'b>> {
        let h = self.h;
        match gradient {
            QkvGradient::All { qkv } => {
                split_rows(qkv, self.cu_seqlens, 3 * h).into_iter().map(|qkv| Target::Fused { qkv, h }).collect()
            }
            QkvGradient::FirstToken { q, kv } => {
                let parts = q.chunks_exact_mut(h).zip(split_rows(kv, self.cu_seqlens, 2 * h));
                parts.map(|(q, kv)| Target::Split { q, kv, h }).collect()
            }
        }
    }

    pub(super) fn get(&self, number: usize) -> Sequence<'a> {
        let (start, end) = (self.cu_seqlens[number] as usize, self.cu_seqlens[number + 1] as usize);
        let (h, keys) = (self.h, end - start);
        match self.qkv {
            Qkv::All { qkv } => {
                let rows = &qkv[start * 3 * h..end * 3 * h];
                let view = |block: usize| View { data: rows, stride: 3 * h, offset: block * h };
                Sequence { keys, queries: keys, first_query: start, q: view(0), k: view(1), v: view(2) }
            }
            Qkv::FirstToken { q, kv } => {
                // Queries have no column here: the projection of all other tokens' queries was never computed.
                let rows = &kv[start * 2 * h..end * 2 * h];
                let view = |block: usize| View { data: rows, stride: 2 * h, offset: block * h };
                let q = View { data: &q[number * h..][..h], stride: h, offset: 0 };
                // An empty sequence has a row for its query here, too; both passes write zeros into it.
                Sequence { keys, queries: 1, first_query: number, q, k: view(0), v: view(1) }
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

/// One sequence.
pub(super) struct Sequence<'a> {
    pub(super) keys: usize,
    pub(super) queries: usize,
    /// Row of its first query in out and lse.
    pub(super) first_query: usize,
    pub(super) q: View<'a>,
    pub(super) k: View<'a>,
    pub(super) v: View<'a>,
}

/// Columns of a row-major matrix: row r, column c starts at r * stride + offset + c.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) data: &'a [f32],
    pub(super) stride: usize,
    pub(super) offset: usize,
}

impl View<'_> {
    /// Columns at..at+d of every row, into rows of `width`.
    #[inline(always)]
    pub(super) fn copy(self, at: usize, d: usize, width: usize, out: &mut [f32]) {
        for (row, out) in self.data.chunks_exact(self.stride).zip(out.chunks_exact_mut(width)) {
            copy_short(&row[self.offset + at..][..d], &mut out[..d]);
        }
    }

    /// The same transposed, `[d, width]`.
    #[inline(always)]
    pub(super) fn transpose<S: Simd>(self, simd: S, at: usize, d: usize, width: usize, out: &mut [f32]) {
        transpose(simd, &self.data[self.offset + at..], self.stride, self.data.len() / self.stride, d, out, width);
    }
}

/// Where the gradients of one sequence go, in the layout of its queries, keys and values.
pub(super) enum Target<'a> {
    /// q, k, v side by side, one row per token.
    Fused { qkv: &'a mut [f32], h: usize },
    /// One row for the query; k, v side by side, one row per token.
    Split { q: &'a mut [f32], kv: &'a mut [f32], h: usize },
}

impl Target<'_> {
    /// The gradient of an empty sequence.
    pub(super) fn clear(&mut self) {
        match self {
            Self::Fused { qkv, .. } => qkv.fill(0.0),
            Self::Split { q, kv, .. } => {
                q.fill(0.0);
                kv.fill(0.0);
            }
        }
    }

    #[inline(always)]
    pub(super) fn q(&mut self) -> ViewMut<'_> {
        match self {
            Self::Fused { qkv, h } => ViewMut { data: qkv, stride: 3 * *h, offset: 0 },
            Self::Split { q, h, .. } => ViewMut { data: q, stride: *h, offset: 0 },
        }
    }

    #[inline(always)]
    pub(super) fn k(&mut self) -> ViewMut<'_> {
        match self {
            Self::Fused { qkv, h } => ViewMut { data: qkv, stride: 3 * *h, offset: *h },
            Self::Split { kv, h, .. } => ViewMut { data: kv, stride: 2 * *h, offset: 0 },
        }
    }

    #[inline(always)]
    pub(super) fn v(&mut self) -> ViewMut<'_> {
        match self {
            Self::Fused { qkv, h } => ViewMut { data: qkv, stride: 3 * *h, offset: 2 * *h },
            Self::Split { kv, h, .. } => ViewMut { data: kv, stride: 2 * *h, offset: *h },
        }
    }
}

/// A writable [`View`].
pub(super) struct ViewMut<'a> {
    pub(super) data: &'a mut [f32],
    pub(super) stride: usize,
    pub(super) offset: usize,
}

impl ViewMut<'_> {
    /// Writes the first `d` columns of `rows` rows of `width` into columns at..at+d.
    #[inline(always)]
    pub(super) fn scatter(self, rows: usize, from: &[f32], width: usize, at: usize, d: usize) {
        // Overwrites: each column of the target belongs to one head, and each row to one sequence.
        for r in 0..rows {
            copy_short(&from[r * width..][..d], &mut self.data[r * self.stride + self.offset + at..][..d]);
        }
    }
}
