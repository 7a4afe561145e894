//! Layer norm with the residual sum and the dropout before it, in one pass over the rows.

use crate::philox::Dropout;
use crate::simd::{subtract_and_sum_squares, sum, sum_and_dot, vectorize};
use crate::threads::Threads;

/// Rows of one work item and of one partial sum of the parameter gradients.
const BLOCK: usize = 64;

/// What the backward pass needs.
#[derive(Debug)]
pub struct Saved<'a> {
    /// (s - mean) * rstd, `[rows, hidden]`.
    pub normalized: &'a mut [f32],
    /// 1 / sqrt(var + eps), `[rows]`.
    pub rstd: &'a mut [f32],
}

/// s = residual + dropout(x); out = gain * (s - mean) * rstd + bias; variance is the biased mean of squares.
///
/// # Panics
/// If a length does not fit.
#[expect(clippy::too_many_arguments, reason = "the formula has as many symbols")]
pub fn forward(
    threads: &Threads,
    hidden: usize,
    x: &[f32],
    residual: Option<&[f32]>,
    dropout: Option<(&Dropout, &[u32])>,
    gain: &[f32],
    bias: &[f32],
    eps: f32,
    out: &mut [f32],
    saved: Option<Saved<'_>>,
) {
    let rows = x.len() / hidden;
    assert_eq!((x.len(), out.len()), (rows * hidden, rows * hidden), "layer norm: lengths");
    assert_eq!((gain.len(), bias.len()), (hidden, hidden), "layer norm: parameters");
    assert!(residual.is_none_or(|r| r.len() == x.len()), "layer norm: residual");
    assert!(dropout.is_none_or(|(_, keys)| keys.len() == rows), "layer norm: row keys");
    let wide = BLOCK * hidden;
    let saved: Vec<Option<(&mut [f32], &mut [f32])>> = match saved {
        Some(Saved { normalized, rstd }) => {
            assert_eq!((normalized.len(), rstd.len()), (x.len(), rows), "layer norm: saved");
            normalized.chunks_mut(wide).zip(rstd.chunks_mut(BLOCK)).map(Some).collect()
        }
        None => (0..rows.div_ceil(BLOCK)).map(|_| None).collect(),
    };
    let blocks = x.chunks(wide).zip(out.chunks_mut(wide)).zip(saved).enumerate().collect();
    threads.for_each(blocks, |(number, ((x, out), mut saved))| {
        let first = number * BLOCK;
        vectorize(
            threads.instructions(),
            #[inline(always)]
            || {
                for (r, (x, out)) in x.chunks_exact(hidden).zip(out.chunks_exact_mut(hidden)).enumerate() {
                    let residual = residual.map(|residual| &residual[(first + r) * hidden..][..hidden]);
                    match (dropout, residual) {
                        (Some((mask, keys)), Some(residual)) => {
                            mask.fill(keys[first + r], out);
                            out.iter_mut().zip(x).zip(residual).for_each(|((o, x), r)| *o = *o * x + r);
                        }
                        (Some((mask, keys)), None) => {
                            mask.fill(keys[first + r], out);
                            out.iter_mut().zip(x).for_each(|(o, x)| *o *= x);
                        }
                        (None, Some(residual)) => {
                            out.iter_mut().zip(x).zip(residual).for_each(|((o, x), r)| *o = x + r);
                        }
                        (None, None) => out.copy_from_slice(x),
                    }
                    let mean = sum(out) / hidden as f32;
                    let rstd = 1.0 / (subtract_and_sum_squares(out, mean) / hidden as f32 + eps).sqrt();
                    match &mut saved {
                        Some((normalized, rstds)) => {
                            rstds[r] = rstd;
                            let normalized = &mut normalized[r * hidden..][..hidden];
                            for (((o, n), g), b) in out.iter_mut().zip(normalized).zip(gain).zip(bias) {
                                *n = *o * rstd;
                                *o = n.mul_add(*g, *b);
                            }
                        }
                        None => {
                            for ((o, g), b) in out.iter_mut().zip(gain).zip(bias) {
                                *o = (*o * rstd).mul_add(*g, *b);
                            }
                        }
                    }
                }
            },
        );
    });
}

/// With u = d_out * gain: d_s = rstd (u - mean(u) - normalized mean(u normalized)); d_residual is d_s (overwritten, or
/// added to where the flag says so), d_x the masked d_s (overwritten); d_gain and d_bias are added to, by fixed blocks
/// of rows in order.
///
/// # Panics
/// If a length does not fit.
#[expect(clippy::too_many_arguments, reason = "the formula has as many symbols")]
pub fn backward(
    threads: &Threads,
    hidden: usize,
    d_out: &[f32],
    normalized: &[f32],
    rstd: &[f32],
    gain: &[f32],
    dropout: Option<(&Dropout, &[u32])>,
    d_residual: Option<(&mut [f32], bool)>,
    d_x: &mut [f32],
    d_gain: &mut [f32],
    d_bias: &mut [f32],
) {
    let (rows, wide) = (rstd.len(), BLOCK * hidden);
    let all = [d_out.len(), normalized.len(), d_x.len()];
    assert_eq!(all, [rows * hidden; 3], "layer norm: lengths");
    assert_eq!([gain.len(), d_gain.len(), d_bias.len()], [hidden; 3], "layer norm: parameters");
    let accumulate = matches!(d_residual, Some((_, true)));
    let residuals: Vec<Option<&mut [f32]>> = match d_residual {
        Some((d, _)) => {
            assert_eq!(d.len(), d_x.len(), "layer norm: residual");
            d.chunks_mut(wide).map(Some).collect()
        }
        None => (0..rows.div_ceil(BLOCK)).map(|_| None).collect(),
    };
    let blocks = d_x.chunks_mut(wide).zip(residuals).enumerate().collect();
    let partial_sums =
        threads.map(blocks, |(number, (d_x, mut d_residual)): (usize, (&mut [f32], Option<&mut [f32]>))| {
            let first = number * BLOCK;
            let mut sums = vec![0.0f32; 2 * hidden];
            vectorize(
                threads.instructions(),
                #[inline(always)]
                || {
                    for (r, d_x) in d_x.chunks_exact_mut(hidden).enumerate() {
                        let at = (first + r) * hidden;
                        let (d_out, normalized) = (&d_out[at..at + hidden], &normalized[at..at + hidden]);
                        backward_row(d_out, normalized, rstd[first + r], gain, d_x, &mut sums);
                        if let Some(residual) = &mut d_residual {
                            let residual = &mut residual[r * hidden..][..hidden];
                            if accumulate {
                                residual.iter_mut().zip(&*d_x).for_each(|(r, d)| *r += d);
                            } else {
                                residual.copy_from_slice(d_x);
                            }
                        }
                        if let Some((mask, keys)) = dropout {
                            mask_row(mask, keys[first + r], d_x);
                        }
                    }
                },
            );
            sums
        });
    for sums in partial_sums {
        d_gain.iter_mut().zip(&sums[..hidden]).for_each(|(d, s)| *d += s);
        d_bias.iter_mut().zip(&sums[hidden..]).for_each(|(d, s)| *d += s);
    }
}

#[inline(always)]
fn backward_row(d_out: &[f32], normalized: &[f32], rstd: f32, gain: &[f32], d_s: &mut [f32], sums: &mut [f32]) {
    let hidden = gain.len();
    let (d_gain, d_bias) = sums.split_at_mut(hidden);
    // All of one length that the compiler sees, so that no index in the loops needs a check.
    let (d_out, normalized, d_s) = (&d_out[..hidden], &normalized[..hidden], &mut d_s[..hidden]);
    let (d_gain, d_bias) = (&mut d_gain[..hidden], &mut d_bias[..hidden]);
    for c in 0..hidden {
        d_gain[c] = d_out[c].mul_add(normalized[c], d_gain[c]);
        d_bias[c] += d_out[c];
        d_s[c] = d_out[c] * gain[c];
    }
    let [mean_u, mean_un] = sum_and_dot(d_s, normalized).map(|sum| sum / hidden as f32);
    for c in 0..hidden {
        d_s[c] = (d_s[c] - mean_u - normalized[c] * mean_un) * rstd;
    }
}

#[inline(always)]
fn mask_row(mask: &Dropout, key: u32, row: &mut [f32]) {
    let mut multipliers = [0.0f32; 128];
    for (number, part) in row.chunks_mut(128).enumerate() {
        let multipliers = &mut multipliers[..part.len()];
        mask.fill_from(key, number * 128, multipliers);
        part.iter_mut().zip(&*multipliers).for_each(|(v, m)| *v *= m);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::LANES;
    use crate::testing::{close_each, difference_quotients, random, same_bits, wide};

    const EPS: f32 = 1e-5;

    struct Case {
        hidden: usize,
        x: Vec<f32>,
        residual: Vec<f32>,
        gain: Vec<f32>,
        bias: Vec<f32>,
        keys: Vec<u32>,
        dropout: Option<Dropout>,
    }

    impl Case {
        fn new(rows: usize, hidden: usize, dropout: bool) -> Self {
            let gain = random(3, hidden).iter().map(|g| 1.0 + 0.3 * g).collect();
            Self {
                hidden,
                x: random(1, rows * hidden),
                residual: random(2, rows * hidden),
                gain,
                bias: random(4, hidden),
                keys: (0..rows as u32).map(|r| r * 7 + 1).collect(),
                dropout: if dropout { Dropout::new(0.2, 1, 2, 3) } else { None },
            }
        }

        fn masks(&self) -> Vec<f64> {
            let mut masks = vec![1.0; self.x.len()];
            if let Some(dropout) = &self.dropout {
                let rows = masks.chunks_mut(self.hidden).zip(&self.keys);
                rows.for_each(|(row, key)| dropout.multipliers(*key, row));
            }
            wide(&masks)
        }

        fn site(&self) -> Option<(&Dropout, &[u32])> {
            self.dropout.as_ref().map(|d| (d, &self.keys[..]))
        }

        /// The definition: out, normalized and rstd.
        fn definition(&self, x: &[f64], residual: &[f64], gain: &[f64], bias: &[f64]) -> [Vec<f64>; 3] {
            let h = self.hidden;
            let masks = self.masks();
            let [mut out, mut normalized, mut rstds] = [vec![], vec![], vec![]];
            for row in 0..x.len() / h {
                let s: Vec<f64> = (row * h..(row + 1) * h).map(|i| residual[i] + masks[i] * x[i]).collect();
                let mean = s.iter().sum::<f64>() / h as f64;
                let variance = s.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / h as f64;
                let rstd = 1.0 / (variance + f64::from(EPS)).sqrt();
                rstds.push(rstd);
                for c in 0..h {
                    normalized.push((s[c] - mean) * rstd);
                    out.push(gain[c] * (s[c] - mean) * rstd + bias[c]);
                }
            }
            [out, normalized, rstds]
        }

        fn wide_definition(&self) -> [Vec<f64>; 3] {
            self.definition(&wide(&self.x), &wide(&self.residual), &wide(&self.gain), &wide(&self.bias))
        }

        /// out, normalized and rstd of the kernel, one after the other.
        fn forward(&self, threads: &Threads) -> [Vec<f32>; 3] {
            let [mut out, mut normalized] = [0; 2].map(|_| vec![f32::NAN; self.x.len()]);
            let mut rstd = vec![f32::NAN; self.keys.len()];
            let saved = Saved { normalized: &mut normalized, rstd: &mut rstd };
            let (x, residual) = (&self.x, Some(&self.residual[..]));
            forward(threads, self.hidden, x, residual, self.site(), &self.gain, &self.bias, EPS, &mut out, Some(saved));
            [out, normalized, rstd]
        }
    }

    const CASES: [(usize, usize); 9] =
        [(0, 8), (1, 1), (1, 7), (7, 8), (8, 9), (9, 31), (31, 97), (97, 33), (200, 384)];

    #[test]
    fn forward_follows_the_definition() {
        for (rows, hidden) in CASES {
            for dropout in [false, true] {
                let case = Case::new(rows, hidden, dropout);
                let flat = same_bits(|threads| case.forward(threads).concat());
                let [out, normalized, rstd] = case.wide_definition();
                // Mean and variance sum `hidden` terms in 16 lanes; each loses at most hidden / 16 + 4 epsilon of terms
                // below 25 in size. Rows of one column have variance 0, so rstd = 316 magnifies.
                let steps = (hidden / LANES + 8) as f64 * f64::from(f32::EPSILON);
                let of_row = |row: usize| 25.0 * steps * rstd[row].max(1.0);
                let want = [out, normalized, rstd.clone()].concat();
                close_each(&format!("{rows} x {hidden}"), &flat, &want, |i| {
                    let matrix = rows * hidden;
                    if i < 2 * matrix {
                        of_row(i % matrix / hidden)
                    } else {
                        of_row(i - 2 * matrix) * rstd[i - 2 * matrix]
                    }
                });
            }
        }
    }

    #[test]
    fn residual_and_saved_are_optional() {
        let case = Case::new(9, 31, true);
        let threads = Threads::new(1).unwrap();
        let mut bare = vec![f32::NAN; case.x.len()];
        let site = case.site();
        forward(&threads, 31, &case.x, None, site, &case.gain, &case.bias, EPS, &mut bare, None);
        let zero = Case { residual: vec![0.0; case.x.len()], ..Case::new(9, 31, true) };
        assert_eq!(bare, zero.forward(&threads)[0]);
    }

    #[test]
    fn nan_shows() {
        let mut case = Case::new(2, 8, false);
        case.x[3] = f32::NAN;
        let [out, ..] = case.forward(&Threads::new(1).unwrap());
        assert!(out[..8].iter().all(|y| y.is_nan()) && out[8..].iter().all(|y| y.is_finite()));
    }

    /// d_residual, d_x, d_gain, d_bias, from kernel outputs; the last two start at 1, and so does d_residual.
    fn gradients(case: &Case, d_out: &[f32], accumulate: bool, threads: &Threads) -> [Vec<f32>; 4] {
        let [_, normalized, rstd] = case.forward(threads);
        let [mut d_gain, mut d_bias] = [0; 2].map(|_| vec![1.0; case.hidden]);
        let (mut d_residual, mut d_x) = (vec![1.0; d_out.len()], vec![f32::NAN; d_out.len()]);
        backward(
            threads,
            case.hidden,
            d_out,
            &normalized,
            &rstd,
            &case.gain,
            case.site(),
            Some((&mut d_residual, accumulate)),
            &mut d_x,
            &mut d_gain,
            &mut d_bias,
        );
        [d_residual, d_x, d_gain, d_bias]
    }

    #[test]
    fn gradients_are_the_slopes_of_the_definition() {
        for (rows, hidden) in [(0, 8), (1, 7), (2, 8), (3, 9), (2, 31), (5, 17)] {
            for (dropout, accumulate) in [(false, false), (true, true)] {
                let case = Case::new(rows, hidden, dropout);
                let d_out = random(5, rows * hidden);
                let got = gradients(&case, &d_out, accumulate, &Threads::new(1).unwrap());
                let at = [&case.residual, &case.x, &case.gain, &case.bias].map(|v| wide(v));
                for (which, got) in got.iter().enumerate() {
                    let before = if which > 1 || (which == 0 && accumulate) { 1.0 } else { 0.0 };
                    let mut want = difference_quotients(&at[which], |moved| {
                        let mut point = at.clone();
                        point[which] = moved.to_vec();
                        let [residual, x, gain, bias] = &point;
                        let out = &case.definition(x, residual, gain, bias)[0];
                        out.iter().zip(&d_out).map(|(y, d)| y * f64::from(*d)).sum()
                    });
                    want.iter_mut().for_each(|w| *w += before);
                    // Terms of size below 10 and hidden / 16 + 8 roundings each; quotients are good to 1e-8.
                    let bound = (hidden / 16 + 8) as f64 * f64::from(f32::EPSILON) * 10.0 + 1e-8;
                    close_each(&format!("gradient {which} of {rows} x {hidden}"), got, &want, |_| bound);
                }
            }
        }
    }

    #[test]
    fn gradients_have_the_same_bits_on_any_number_of_threads() {
        for (rows, hidden) in CASES {
            let case = Case::new(rows, hidden, true);
            let d_out = random(5, rows * hidden);
            let flat = same_bits(|threads| gradients(&case, &d_out, false, threads).concat());
            // Column sums over more than one block of 64 rows, by definition.
            let [_, normalized, _] = case.wide_definition();
            let sums = &flat[2 * rows * hidden..];
            for c in 0..hidden {
                let column = |i: usize| f64::from(d_out[i * hidden + c]);
                let gain: f64 = (0..rows).map(|r| column(r) * normalized[r * hidden + c]).sum();
                let bias: f64 = (0..rows).map(column).sum();
                let bound = 1e-5 * (rows as f64 + 1.0); // rows terms, each off by less than 1e-5 (see above)
                assert!((f64::from(sums[c]) - 1.0 - gain).abs() <= bound, "d_gain[{c}] of {rows} x {hidden}");
                assert!((f64::from(sums[hidden + c]) - 1.0 - bias).abs() <= bound, "d_bias[{c}] of {rows} x {hidden}");
            }
        }
    }
}
