//! Self-attention inside each sequence of the packed batch, all heads in one op.

use crate::reference::Run;
use crate::tape::{Backward, DropoutSite, Site, Write};
use crate::{Op, Value};

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
    /// ln sum exp of each score row, from which the backward pass makes P again; None in inference.
    pub lse: Option<Value>,
}

/// Queries, keys and values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Qkv {
    /// Every token asks: columns q, k, v side by side, `[T, 3h]`.
    All(Value),
    /// Only each sequence's first token asks.
    FirstToken {
        /// `[S, h]`
        q: Value,
        /// k, v side by side, `[T, 2h]`.
        kv: Value,
    },
}

/// P from scores and lse; d_P = mask(d_out V^T); d_scores = P (d_P - sum d_out * out); d_q = d_scores K / sqrt(d),
/// d_k = d_scores^T Q / sqrt(d), d_v = dropout(P)^T d_out. All overwritten.
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
}

impl Attention {
    pub(crate) fn values(&self) -> Vec<Value> {
        self.qkv.values().into_iter().chain([self.out]).chain(self.lse).collect()
    }

    pub(crate) fn backward(&self, backward: &mut Backward) -> Option<Op> {
        let d_out = backward.gradient(self.out)?;
        let d_qkv = match self.qkv {
            Qkv::All(qkv) => Qkv::All(backward.sole_target(qkv)),
            Qkv::FirstToken { q, kv } => Qkv::FirstToken { q: backward.sole_target(q), kv: backward.sole_target(kv) },
        };
        Some(Op::AttentionBackward(AttentionBackward { forward: self.clone(), lse: self.lse?, d_out, d_qkv }))
    }

    pub(crate) fn reference(&self, run: &mut Run) {
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

    /// Scores, probabilities and dropout multipliers of every sequence and head, in the plainest form.
    fn head_runs(&self, run: &Run) -> Vec<HeadRun> {
        let mut heads = Vec::new();
        for s in 0..run.batch.sequences() {
            for number in 0..self.heads {
                heads.push(self.head_run(run, s, number));
            }
        }
        heads
    }

    fn head_run(&self, run: &Run, sequence: usize, number: usize) -> HeadRun {
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
            Qkv::FirstToken { .. } if keys.is_empty() => Vec::new(),
            Qkv::FirstToken { q, .. } => {
                vec![Query { row: sequence, key: run.batch.first_row_keys[sequence], q: cut(q, sequence, width, 0) }]
            }
        };
        let dropout = self.dropout.map(|p| DropoutSite { site: Site(p.site.0 + number as u32), ..p });
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
    pub(crate) fn values(&self) -> Vec<Value> {
        let mut values = self.forward.values();
        values.extend(self.d_qkv.values());
        values.extend([self.lse, self.d_out]);
        values
    }

    pub(crate) fn reference(&self, run: &mut Run) {
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
                d_q.iter_mut().zip(&d_kv).for_each(|(a, b)| *a += b);
                run.write(value, Write::Overwrite, d_q);
            }
            Qkv::FirstToken { q, kv } => {
                run.set(q, d_q);
                run.set(kv, d_kv);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Qkv;
    use crate::gradient_check::{LENGTHS, check};
    use crate::{DropoutSite, Rows, Site};

    const HEADS: [(usize, usize); 4] = [(1, 1), (2, 7), (3, 4), (1, 31)];

    #[test]
    fn gradients_are_slopes_and_kernels_follow() {
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
