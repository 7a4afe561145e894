//! Tests of attention against its f64 definition, which is itself tested against difference quotients.

use super::*;
use crate::testing::{close_each, difference_quotients, random, same_bits, wide};

/// Everything one call needs; rows of `q` are queries, rows of `kv` are tokens.
struct Case {
    shape: Shape,
    cu_seqlens: Vec<u32>,
    qkv: Vec<f32>,
    keys: Vec<u32>,
    dropout: Option<Dropout>,
    first_token: bool,
}

impl Case {
    fn new(heads: usize, head_dim: usize, lengths: &[usize], probability: f32, first_token: bool) -> Self {
        let mut cu_seqlens = vec![0];
        let mut keys = vec![];
        for (s, len) in lengths.iter().enumerate() {
            cu_seqlens.push(cu_seqlens[s] + *len as u32);
            keys.extend((0..*len as u32).map(|i| 65_536 * s as u32 + i));
        }
        if first_token {
            keys = (0..lengths.len() as u32).map(|s| 65_536 * s).collect();
        }
        let tokens = cu_seqlens[lengths.len()] as usize;
        Self {
            shape: Shape { heads, head_dim },
            cu_seqlens,
            qkv: random(1, tokens * 3 * heads * head_dim),
            keys,
            dropout: Dropout::new(probability, 7, 8, 1024),
            first_token,
        }
    }

    fn width(&self) -> usize {
        self.shape.heads * self.shape.head_dim
    }

    fn lengths(&self) -> Vec<usize> {
        self.cu_seqlens.windows(2).map(|w| (w[1] - w[0]) as usize).collect()
    }

    /// The queries of the first tokens, and all keys and values. The query of an empty sequence is arbitrary: it must not be
    /// read.
    fn cut(&self) -> (Vec<f32>, Vec<f32>) {
        let h = self.width();
        let starts = self.cu_seqlens.iter().zip(self.lengths());
        let q =
            starts.flat_map(
                |(start, len)| {
                    if len == 0 { vec![0.5; h] } else { self.qkv[*start as usize * 3 * h..][..h].to_vec() }
                },
            );
        (q.collect(), self.qkv.chunks(3 * h).flat_map(|row| row[h..].to_vec()).collect())
    }

    fn inputs<'a>(&'a self, qkv: Qkv<'a>) -> Inputs<'a> {
        let dropout = self.dropout.map(|dropout| (dropout, &self.keys[..]));
        Inputs { shape: self.shape, cu_seqlens: &self.cu_seqlens, qkv, dropout }
    }

    fn forward(&self, threads: &Threads) -> [Vec<f32>; 2] {
        let mut out = vec![f32::NAN; self.keys.len() * self.width()];
        let mut lse = vec![f32::NAN; self.keys.len() * self.shape.heads];
        let (q, kv) = self.cut();
        let qkv = if self.first_token { Qkv::FirstToken { q: &q, kv: &kv } } else { Qkv::All { qkv: &self.qkv } };
        forward(threads, self.inputs(qkv), &mut out, Some(&mut lse));
        [out, lse]
    }

    /// The gradients in the order of `qkv`, or those of q and then of kv.
    fn backward(&self, threads: &Threads, d_out: &[f32]) -> Vec<f32> {
        let [out, lse] = self.forward(threads);
        let (q, kv) = self.cut();
        let mut d_qkv = vec![f32::NAN; self.qkv.len()];
        let (mut d_q, mut d_kv) = (vec![f32::NAN; q.len()], vec![f32::NAN; kv.len()]);
        let (qkv, gradient) = if self.first_token {
            (Qkv::FirstToken { q: &q, kv: &kv }, QkvGradient::FirstToken { q: &mut d_q, kv: &mut d_kv })
        } else {
            (Qkv::All { qkv: &self.qkv }, QkvGradient::All { qkv: &mut d_qkv })
        };
        backward(threads, self.inputs(qkv), &out, &lse, d_out, gradient);
        if self.first_token { [d_q, d_kv].concat() } else { d_qkv }
    }

    /// For every token's query: out and lse, by definition.
    fn definition(&self, qkv: &[f64]) -> [Vec<f64>; 2] {
        let (d, h) = (self.shape.head_dim, self.width());
        let (mut out, mut lse) = (vec![0.0; qkv.len() / 3], vec![0.0; qkv.len() / 3 / d]);
        self.each_query(qkv, |at| {
            for (j, (p, m)) in at.p.iter().zip(&at.m).enumerate() {
                (0..d).for_each(|c| out[at.row * h + at.head * d + c] += p * m * at.v(j)[c]);
            }
            lse[at.row * self.shape.heads + at.head] = at.lse;
        });
        [out, lse]
    }

    /// The gradient of sum(d_out * out) by qkv, by definition, and the same with every term's size in its place.
    fn definition_backward(&self, qkv: &[f64], d_out: &[f64]) -> [Vec<f64>; 2] {
        let (d, h) = (self.shape.head_dim, self.width());
        let mut gradients = [vec![0.0; qkv.len()], vec![0.0; qkv.len()]];
        for (size, gradient) in gradients.iter_mut().enumerate() {
            let (of, sign): (fn(f64) -> f64, f64) = if size == 0 { (|x| x, -1.0) } else { (f64::abs, 1.0) };
            self.each_query(qkv, |at| {
                let row = &d_out[at.row * h + at.head * d..][..d];
                let dot = |x: &[f64]| row.iter().zip(x).map(|(a, b)| of(a * b)).sum::<f64>();
                let d_p: Vec<f64> = (0..at.p.len()).map(|j| at.m[j] * dot(at.v(j))).collect();
                let mean: f64 = d_p.iter().zip(&at.p).map(|(a, b)| a * b).sum();
                for j in 0..at.p.len() {
                    let d_score = at.p[j] * (d_p[j] + sign * mean) / (d as f64).sqrt();
                    for c in 0..d {
                        gradient[at.row * 3 * h + at.head * d + c] += d_score * of(at.k(j)[c]);
                        gradient[at.key_row(j) * 3 * h + h + at.head * d + c] += d_score * of(at.q[c]);
                        gradient[at.key_row(j) * 3 * h + 2 * h + at.head * d + c] += of(at.p[j] * at.m[j] * row[c]);
                    }
                }
            });
        }
        gradients
    }

    fn each_query(&self, qkv: &[f64], mut work: impl FnMut(Query<'_>)) {
        let (d, h) = (self.shape.head_dim, self.width());
        for bounds in self.cu_seqlens.windows(2) {
            let (start, end) = (bounds[0] as usize, bounds[1] as usize);
            for row in start..end {
                for head in 0..self.shape.heads {
                    let q = &qkv[row * 3 * h + head * d..][..d];
                    let mut at =
                        Query { row, head, start, d, h, qkv, q, p: vec![], m: vec![1.0; end - start], lse: 0.0 };
                    let score = |j: usize| q.iter().zip(at.k(j)).map(|(a, b)| a * b).sum::<f64>() / (d as f64).sqrt();
                    at.p = (0..end - start).map(score).collect();
                    at.lse = at.p.iter().map(|s| s.exp()).sum::<f64>().ln();
                    at.p.iter_mut().for_each(|s| *s = (*s - at.lse).exp());
                    if let Some(dropout) = self.dropout {
                        let mut mask = vec![0.0; end - start];
                        dropout.with_head(head as u32).multipliers(self.keys[row], &mut mask);
                        at.m = wide(&mask);
                    }
                    work(at);
                }
            }
        }
    }
}

/// One query of one head, with its probabilities and dropout multipliers.
struct Query<'a> {
    row: usize,
    head: usize,
    start: usize,
    d: usize,
    h: usize,
    qkv: &'a [f64],
    q: &'a [f64],
    p: Vec<f64>,
    m: Vec<f64>,
    lse: f64,
}

impl<'a> Query<'a> {
    fn key_row(&self, j: usize) -> usize {
        self.start + j
    }

    fn k(&self, j: usize) -> &'a [f64] {
        &self.qkv[self.key_row(j) * 3 * self.h + self.h + self.head * self.d..][..self.d]
    }

    fn v(&self, j: usize) -> &'a [f64] {
        &self.qkv[self.key_row(j) * 3 * self.h + 2 * self.h + self.head * self.d..][..self.d]
    }
}

// Empty sequences first and in between, lengths around 8 and 16 lanes, and one of several vectors.
const LENGTHS: &[usize] = &[0, 1, 7, 8, 9, 0, 31, 16, 97];

fn cases() -> Vec<Case> {
    let mut cases = vec![Case::new(2, 8, &[], 0.1, false), Case::new(2, 8, &[0, 0], 0.1, false)];
    // Head widths below the 16 lanes, of one, two and four whole lane arrays, and one that leaves a remainder.
    for (heads, head_dim) in [(1, 1), (3, 7), (2, 16), (2, 32), (1, 33), (2, 64)] {
        for probability in [0.0, 0.3] {
            cases.push(Case::new(heads, head_dim, LENGTHS, probability, false));
        }
    }
    cases
}

/// A score is a sum of d products, so it is off by at most d + 3 roundings of the sum of their sizes, and every weight
/// by twice that (its own score and the lse) in proportion; sums over n keys and d columns add n + d + 20 roundings.
fn relative_error(case: &Case) -> f64 {
    let (d, h) = (case.shape.head_dim, case.width());
    let mut scores: f64 = 0.0;
    for bounds in case.cu_seqlens.windows(2) {
        for (i, j) in (bounds[0]..bounds[1]).flat_map(|i| (bounds[0]..bounds[1]).map(move |j| (i as usize, j as usize)))
        {
            for head in 0..case.shape.heads {
                let (q, k) = (&case.qkv[i * 3 * h + head * d..][..d], &case.qkv[j * 3 * h + h + head * d..][..d]);
                let size: f64 = q.iter().zip(k).map(|(a, b)| f64::from(a * b).abs()).sum();
                scores = scores.max(size / (d as f64).sqrt());
            }
        }
    }
    let longest = case.lengths().into_iter().max().unwrap_or(0);
    let rounding = f64::from(f32::EPSILON) / 2.0;
    rounding * (2.0 * (d + 3) as f64 * scores + (longest + d + 20) as f64)
}

#[test]
fn forward_follows_the_definition() {
    for case in cases() {
        let [out, lse] = [0, 1].map(|which| same_bits(|threads| case.forward(threads)[which].clone()));
        let [want_out, want_lse] = case.definition(&wide(&case.qkv));
        let error = relative_error(&case);
        let largest = case.qkv.iter().fold(0.0, |a: f64, v| a.max(f64::from(v.abs())));
        let scale = f64::from(case.dropout.map_or(1.0, |d| d.scale));
        let what = format!("{:?}, dropout {:?}", case.shape, case.dropout);
        close_each(&format!("out, {what}"), &out, &want_out, |_| largest * scale * error);
        close_each(&format!("lse, {what}"), &lse, &want_lse, |i| error * (1.0 + want_lse[i].abs()));
    }
}

#[test]
fn lse_is_optional() {
    let case = Case::new(2, 8, &[3, 20], 0.2, false);
    let threads = Threads::new(1).unwrap();
    let mut out = vec![f32::NAN; case.qkv.len() / 3];
    forward(&threads, case.inputs(Qkv::All { qkv: &case.qkv }), &mut out, None);
    assert_eq!(out, case.forward(&threads)[0]);
}

#[test]
fn the_backward_definition_is_the_slope_of_the_forward_definition() {
    for probability in [0.0, 0.3] {
        let case = Case::new(2, 3, &[0, 1, 5, 3], probability, false);
        let (qkv, d_out) = (wide(&case.qkv), wide(&random(2, case.qkv.len() / 3)));
        let slopes = difference_quotients(&qkv, |qkv| {
            case.definition(qkv)[0].iter().zip(&d_out).map(|(a, b)| a * b).sum::<f64>()
        });
        for (slope, gradient) in slopes.iter().zip(&case.definition_backward(&qkv, &d_out)[0]) {
            assert!((slope - gradient).abs() < 1e-8, "{slope} against {gradient}");
        }
    }
}

#[test]
fn backward_follows_the_definition() {
    for case in cases() {
        let d_out = random(2, case.qkv.len() / 3);
        let got = same_bits(|threads| case.backward(threads, &d_out));
        let [want, sizes] = case.definition_backward(&wide(&case.qkv), &wide(&d_out));
        let error = 2.0 * relative_error(&case);
        let what = format!("gradient, {:?}, dropout {:?}", case.shape, case.dropout);
        close_each(&what, &got, &want, |i| error * sizes[i]);
    }
}

/// The first-token variant is the whole one with the other queries' outputs (and their gradients) left out. The
/// arithmetic of a lane does not depend on its neighbours, so the outputs have the same bits.
#[test]
fn first_token_is_the_whole_restricted_to_it() {
    let threads = Threads::new(1).unwrap();
    for (heads, head_dim) in [(3, 7), (2, 32)] {
        for probability in [0.0, 0.3] {
            let first = Case::new(heads, head_dim, LENGTHS, probability, true);
            let all = Case::new(heads, head_dim, LENGTHS, probability, false);
            let h = all.width();
            let ([out, lse], [all_out, all_lse]) = (first.forward(&threads), all.forward(&threads));
            let some_out = random(2, out.len());
            let mut d_out = vec![0.0; all_out.len()];
            for (s, len) in all.lengths().into_iter().enumerate() {
                let row = all.cu_seqlens[s] as usize;
                if len == 0 {
                    assert!(out[s * h..][..h].iter().chain(&lse[s * heads..][..heads]).all(|x| *x == 0.0));
                    continue;
                }
                assert_eq!(out[s * h..][..h], all_out[row * h..][..h], "sequence {s}");
                assert_eq!(lse[s * heads..][..heads], all_lse[row * heads..][..heads], "sequence {s}");
                d_out[row * h..][..h].copy_from_slice(&some_out[s * h..][..h]);
            }
            let (gradient, whole) = (first.backward(&threads, &some_out), all.backward(&threads, &d_out));
            let (d_q, d_kv) = gradient.split_at(out.len());
            for (s, len) in all.lengths().into_iter().enumerate() {
                let row = all.cu_seqlens[s] as usize;
                let want = if len == 0 { vec![0.0; h] } else { whole[row * 3 * h..][..h].to_vec() };
                assert_eq!(d_q[s * h..][..h], want, "sequence {s}");
            }
            for (row, whole) in whole.chunks(3 * h).enumerate() {
                let want = wide(&whole[h..]);
                // Beyond 16 queries the whole one adds zeros in further blocks, which changes no bit either.
                close_each(&format!("row {row}"), &d_kv[row * 2 * h..][..2 * h], &want, |_| 0.0);
            }
        }
    }
}

#[test]
fn nan_shows_in_its_own_sequence_only() {
    let mut case = Case::new(1, 8, &[5, 6], 0.0, false);
    case.qkv[2 * 24 + 3] = f32::NAN; // a query of the first sequence
    case.qkv[24 + 8] = f32::NAN; // a key of the first sequence
    let [out, _] = case.forward(&Threads::new(1).unwrap());
    assert!(out[..5 * 8].iter().all(|x| x.is_nan()));
    assert!(out[5 * 8..].iter().all(|x| x.is_finite()));
}

#[test]
fn large_scores_keep_their_ratio_wherever_the_largest_stands() {
    let threads = Threads::new(1).unwrap();
    for place in 0..40 {
        let mut case = Case::new(1, 1, &[40], 0.0, false);
        for (j, row) in case.qkv.chunks_exact_mut(3).enumerate() {
            // Every query is 1, so keys are scores; 200 is far beyond what an exponential of f32 can hold.
            let key = if j == place { 200.0 } else { f32::from(u8::from(j == (place + 2) % 40)) * 198.0 };
            row.copy_from_slice(&[1.0, key, f32::from(u8::from(j == place))]);
        }
        let [out, lse] = case.forward(&threads);
        let sum = 1.0 + (-2.0f64).exp();
        close_each("out", &out, &[1.0 / sum; 40], |_| 1e-6);
        close_each("lse", &lse, &[200.0 + sum.ln(); 40], |_| 200.0 * f64::from(f32::EPSILON));
    }
}
