//! Self-attention inside each sequence of the packed batch, all heads in one op.

use crate::cpu_run::{Run as CpuRun, disjoint};
use crate::gradients::Gradients;
use crate::phases::Phase;
use crate::reference_run::Run;
use crate::site::DropoutSite;
use crate::value::Value;
use std::ops::Range;
use stepstone_kernels::{Write, attention};

/// Per sequence and head, with d = head_dim: P = softmax(Q K^T / sqrt(d)); out = dropout(P) V.
/// out and lse have one row per query: `[R, heads * d]` and `[R, heads]`.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the formula names them")]
pub struct Attention {
    pub qkv: Qkv,
    pub heads: usize,
    pub head_dim: usize,
    pub dropout: Option<DropoutSite>,
    pub out: Value,
    /// Log-sum-exp of each score row, from which the backward pass recomputes P; None in inference.
    pub lse: Option<Value>,
}

/// Queries, keys and values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Qkv {
    /// Every token has a query: columns q, k, v side by side, `[T, 3h]`.
    All(Value),
    /// Only the first token of each sequence has a query.
    FirstToken {
        /// `[S, h]`
        q: Value,
        /// k, v side by side, `[T, 2h]`.
        kv: Value,
    },
}

/// P from scores and lse; d_P = mask(d_out V^T); d_scores = P (d_P - sum d_out * out); d_q = d_scores K / sqrt(d), d_k
/// = d_scores^T Q / sqrt(d), d_v = dropout(P)^T d_out. All three are overwritten.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the formula names them")]
pub struct AttentionBackward {
    pub forward: Attention,
    pub lse: Value,
    pub d_out: Value,
    pub d_qkv: Qkv,
}

impl Qkv {
    fn values(self) -> Vec<Value> {
        match self {
            Self::All(qkv) => vec![qkv],
            Self::FirstToken { q, kv } => vec![q, kv],
        }
    }

    /// The spans of both operands; the second is empty if q, k and v are one value.
    fn spans(self, run: &CpuRun<'_>) -> [Range<usize>; 2] {
        match self {
            Self::All(qkv) => [run.span(qkv), 0..0],
            Self::FirstToken { q, kv } => [run.span(q), run.span(kv)],
        }
    }
}

impl Attention {
    pub(crate) const PHASE: Phase = Phase::Attention;

    pub(crate) fn reads(&self) -> Vec<Value> {
        self.qkv.values()
    }

    pub(crate) fn writes(&self) -> Vec<Value> {
        [self.out].into_iter().chain(self.lse).collect()
    }

    pub(crate) fn backward(&self, gradients: &mut Gradients) -> Option<AttentionBackward> {
        let d_out = gradients.gradient(self.out)?;
        let d_qkv = match self.qkv {
            // The kernel can only overwrite whole rows. That suffices, because nothing but attention reads a
            // projection.
            Qkv::All(qkv) => Qkv::All(gradients.sole_target(qkv)),
            Qkv::FirstToken { q, kv } => Qkv::FirstToken { q: gradients.sole_target(q), kv: gradients.sole_target(kv) },
        };
        Some(AttentionBackward { forward: self.clone(), lse: self.lse?, d_out, d_qkv })
    }

    pub(crate) fn reference(&self, run: &mut Run<'_>) {
        let heads = self.head_runs(run);
        let rows = run.rows(self.out);
        let width = self.heads * self.head_dim;
        let (mut out, mut lse) = (vec![0.0; rows * width], vec![0.0; rows * self.heads]);
        for head in &heads {
            for (i, query) in head.queries.iter().enumerate() {
                let at = query.row * width + head.number * self.head_dim;
                for (j, key) in head.keys.iter().enumerate() {
                    let weight = head.probabilities[i][j] * head.multipliers[i][j];
                    (0..self.head_dim).for_each(|c| out[at + c] += weight * key.v[c]);
                }
                lse[query.row * self.heads + head.number] = head.lse[i];
            }
        }
        run.set(self.out, out);
        if let Some(value) = self.lse {
            run.set(value, lse);
        }
    }

    pub(crate) fn cpu(&self, run: &mut CpuRun<'_>) {
        let (threads, batch, shape) = (run.threads, run.batch, self.shape());
        let dropout = run.mask(self.dropout, self.out);
        let [first, second] = self.qkv.spans(run);
        let spans = [first, second, run.span(self.out), run.optional_span(self.lse)];
        let [first, second, out, lse] = disjoint(run.activations, spans);
        let qkv = match self.qkv {
            Qkv::All(_) => attention::Qkv::All { qkv: first },
            Qkv::FirstToken { .. } => attention::Qkv::FirstToken { q: first, kv: second },
        };
        let inputs = attention::Inputs { shape, cu_seqlens: &batch.cu_seqlens, qkv, dropout };
        attention::forward(threads, inputs, out, self.lse.map(|_| lse));
    }

    fn shape(&self) -> attention::Shape {
        attention::Shape { heads: self.heads, head_dim: self.head_dim }
    }

    /// Scores, probabilities and dropout multipliers of every sequence and head, computed directly from the definition.
    fn head_runs(&self, run: &Run<'_>) -> Vec<HeadRun> {
        let mut heads = Vec::new();
        for s in 0..run.batch.sequences() {
            for number in 0..self.heads {
                heads.push(self.head_run(run, s, number));
            }
        }
        heads
    }

    fn head_run(&self, run: &Run<'_>, sequence: usize, number: usize) -> HeadRun {
        let d = self.head_dim;
        let width = self.heads * d;
        let tokens = run.batch.cu_seqlens[sequence] as usize..run.batch.cu_seqlens[sequence + 1] as usize;
        let cut = |value: Value, row: usize, stride: usize, block: usize| {
            run.get(value)[row * stride + block * width + number * d..][..d].to_vec()
        };
        let key = |row: usize| match self.qkv {
            Qkv::All(qkv) => Key { row, k: cut(qkv, row, 3 * width, 1), v: cut(qkv, row, 3 * width, 2) },
            Qkv::FirstToken { kv, .. } => Key { row, k: cut(kv, row, 2 * width, 0), v: cut(kv, row, 2 * width, 1) },
        };
        let keys: Vec<Key> = tokens.clone().map(key).collect();
        let queries: Vec<Query> = match self.qkv {
            Qkv::All(qkv) => {
                tokens.map(|row| Query { row, key: run.batch.row_keys[row], q: cut(qkv, row, 3 * width, 0) }).collect()
            }
            // An empty sequence has no first token, hence no query.
            Qkv::FirstToken { .. } if keys.is_empty() => Vec::new(),
            Qkv::FirstToken { q, .. } => {
                vec![Query { row: sequence, key: run.batch.first_row_keys[sequence], q: cut(q, sequence, width, 0) }]
            }
        };
        // Each head has a site of its own, so heads do not share masks.
        let dropout = self.dropout.map(|p| DropoutSite { site: p.site.with_head(number), ..p });
        let multipliers = queries.iter().map(|q| run.multipliers(dropout, q.key, keys.len())).collect();
        HeadRun::new(number, queries, keys, multipliers)
    }
}

struct Query {
    row: usize,
    key: u32,
    q: Vec<f64>,
}

struct Key {
    row: usize,
    k: Vec<f64>,
    v: Vec<f64>,
}

struct HeadRun {
    number: usize,
    queries: Vec<Query>,
    keys: Vec<Key>,
    multipliers: Vec<Vec<f64>>,
    probabilities: Vec<Vec<f64>>,
    lse: Vec<f64>,
}

impl HeadRun {
    fn new(number: usize, queries: Vec<Query>, keys: Vec<Key>, multipliers: Vec<Vec<f64>>) -> Self {
        let (mut probabilities, mut lse) = (Vec::new(), Vec::new());
        for query in &queries {
            let scale = 1.0 / (query.q.len() as f64).sqrt();
            let scores: Vec<f64> = keys.iter().map(|key| scale * dot(&query.q, &key.k)).collect();
            // The largest score is subtracted, so that no exponential overflows.
            let max = scores.iter().fold(f64::NEG_INFINITY, |a, b| a.max(*b));
            let sum: f64 = scores.iter().map(|s| (s - max).exp()).sum();
            lse.push(max + sum.ln());
            probabilities.push(scores.iter().map(|s| (s - max).exp() / sum).collect());
        }
        Self { number, queries, keys, multipliers, probabilities, lse }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl AttentionBackward {
    pub(crate) const PHASE: Phase = Phase::Attention;

    pub(crate) fn reads(&self) -> Vec<Value> {
        let mut reads = self.forward.qkv.values();
        reads.extend([self.forward.out, self.lse, self.d_out]);
        reads
    }

    pub(crate) fn writes(&self) -> Vec<Value> {
        self.d_qkv.values()
    }

    pub(crate) fn reference(&self, run: &mut Run<'_>) {
        let d = self.forward.head_dim;
        let width = self.forward.heads * d;
        let scale = 1.0 / (d as f64).sqrt();
        let d_out = run.get(self.d_out).to_vec();
        let tokens = run.batch.tokens();
        let (query_stride, key_stride, k_block, query_rows) = match self.d_qkv {
            Qkv::All(_) => (3 * width, 3 * width, 1, tokens),
            Qkv::FirstToken { .. } => (width, 2 * width, 0, run.batch.sequences()),
        };
        let (mut d_q, mut d_kv) = (vec![0.0; query_rows * query_stride], vec![0.0; tokens * key_stride]);
        for head in self.forward.head_runs(run) {
            for (i, query) in head.queries.iter().enumerate() {
                let d_row = &d_out[query.row * width + head.number * d..][..d];
                let (p, m) = (&head.probabilities[i], &head.multipliers[i]);
                let d_p: Vec<f64> = head.keys.iter().zip(m).map(|(key, m)| m * dot(d_row, &key.v)).collect();
                // The Jacobian of the softmax: each score of a row changes all probabilities of the row.
                let mean = dot(p, &d_p);
                for (j, key) in head.keys.iter().enumerate() {
                    let d_score = p[j] * (d_p[j] - mean) * scale;
                    let q_at = query.row * query_stride + head.number * d;
                    let k_at = key.row * key_stride + k_block * width + head.number * d;
                    for c in 0..d {
                        d_q[q_at + c] += d_score * key.k[c];
                        d_kv[k_at + c] += d_score * query.q[c];
                        d_kv[k_at + width + c] += p[j] * m[j] * d_row[c];
                    }
                }
            }
        }
        match self.d_qkv {
            Qkv::All(value) => {
                // Both buffers have the shape of d_qkv and share no column, so their sum joins them.
                d_q.iter_mut().zip(&d_kv).for_each(|(a, b)| *a += b);
                run.write(value, Write::Overwrite, d_q);
            }
            Qkv::FirstToken { q, kv } => {
                run.set(q, d_q);
                run.set(kv, d_kv);
            }
        }
    }

    pub(crate) fn cpu(&self, run: &mut CpuRun<'_>) {
        let (threads, batch, forward) = (run.threads, run.batch, &self.forward);
        let dropout = run.mask(forward.dropout, forward.out);
        let ([first, second], [d_first, d_second]) = (forward.qkv.spans(run), self.d_qkv.spans(run));
        let [out, d_out, lse] = [forward.out, self.d_out, self.lse].map(|v| run.span(v));
        let spans = [first, second, out, d_out, lse, d_first, d_second];
        let [first, second, out, d_out, lse, d_first, d_second] = disjoint(run.activations, spans);
        let (qkv, gradient) = match forward.qkv {
            Qkv::All(_) => (attention::Qkv::All { qkv: first }, attention::QkvGradient::All { qkv: d_first }),
            Qkv::FirstToken { .. } => (
                attention::Qkv::FirstToken { q: first, kv: second },
                attention::QkvGradient::FirstToken { q: d_first, kv: d_second },
            ),
        };
        let inputs = attention::Inputs { shape: forward.shape(), cu_seqlens: &batch.cu_seqlens, qkv, dropout };
        attention::backward(threads, inputs, out, lse, d_out, gradient);
    }
}

#[cfg(test)]
mod tests {
    use super::Qkv;
    use crate::gradient_check::{LENGTHS, check};
    use crate::site::{DropoutSite, Site};
    use crate::value::Rows;

    // Head widths of one element, of part of a vector, and of whole vectors and a remainder.
    const HEADS: [(usize, usize); 4] = [(1, 1), (2, 7), (3, 4), (1, 31)];

    #[test]
    fn gradients_are_slopes_and_kernels_follow() {
        // Empty sequences have no query, and their neighbours must not be affected.
        for lengths in LENGTHS.into_iter().chain([&[0, 3, 0][..]]) {
            for (heads, head_dim) in HEADS {
                for (first_token, probability) in [(false, 0.0), (false, 0.3), (true, 0.0), (true, 0.3)] {
                    let what = format!("{heads} heads of {head_dim}, first token {first_token}, dropout {probability}");
                    check(&what, lengths, |b| {
                        let width = heads * head_dim;
                        let qkv = if first_token {
                            Qkv::FirstToken { q: b.input(Rows::Sequences, width), kv: b.input(Rows::Tokens, 2 * width) }
                        } else {
                            Qkv::All(b.input(Rows::Tokens, 3 * width))
                        };
                        b.tape.attention(qkv, heads, Some(DropoutSite { probability, site: Site(1024) }))
                    });
                }
            }
        }
    }
}
