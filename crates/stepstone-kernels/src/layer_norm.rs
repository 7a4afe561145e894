//! Layer norm with the residual sum and the dropout before it, in one pass over the rows.

use crate::philox::Dropout;
use crate::simd::{lane_sum, vectorize};
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
            #[inline(always)]
            || {
                for (r, (x, out)) in x.chunks_exact(hidden).zip(out.chunks_exact_mut(hidden)).enumerate() {
                    match dropout {
                        Some((mask, keys)) => {
                            mask.fill(keys[first + r], out);
                            out.iter_mut().zip(x).for_each(|(o, x)| *o *= x);
                        }
                        None => out.copy_from_slice(x),
                    }
                    if let Some(residual) = residual {
                        let residual = &residual[(first + r) * hidden..][..hidden];
                        out.iter_mut().zip(residual).for_each(|(o, r)| *o += r);
                    }
                    let rstd = normalize(out, eps);
                    if let Some((normalized, rstds)) = &mut saved {
                        normalized[r * hidden..][..hidden].copy_from_slice(out);
                        rstds[r] = rstd;
                    }
                    for ((o, g), b) in out.iter_mut().zip(gain).zip(bias) {
                        *o = o.mul_add(*g, *b);
                    }
                }
            },
        );
    });
}

/// row = (row - mean) * rstd; returns rstd.
#[inline(always)]
fn normalize(row: &mut [f32], eps: f32) -> f32 {
    let n = row.len() as f32;
    let mean = lane_sum(row.len(), |c| row[c]) / n;
    row.iter_mut().for_each(|v| *v -= mean);
    let rstd = 1.0 / (lane_sum(row.len(), |c| row[c] * row[c]) / n + eps).sqrt();
    row.iter_mut().for_each(|v| *v *= rstd);
    rstd
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
    for c in 0..hidden {
        d_gain[c] = d_out[c].mul_add(normalized[c], d_gain[c]);
        d_bias[c] += d_out[c];
        d_s[c] = d_out[c] * gain[c];
    }
    let mean_u = lane_sum(hidden, |c| d_s[c]) / hidden as f32;
    let mean_un = lane_sum(hidden, |c| d_s[c] * normalized[c]) / hidden as f32;
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
