//! Layer norm with the residual sum and the dropout before it, in one pass over the rows.
//!
//! One op instead of three: each row is read and written once, while it lies in L1.

use crate::philox::Dropout;
use crate::simd::{subtract_and_sum_squares, sum, sum_and_dot, vectorize};
use crate::threads::Threads;
use crate::write::Write;

/// Rows of one work item and of one partial sum of the parameter gradients.
// Part of the result's definition: parameter gradients are summed by blocks of this many rows, so another number gives
// other bits.
const BLOCK: usize = 64;

/// s = residual + dropout(x), the rows to be normalised, `[rows, hidden]`.
#[derive(Debug, Clone, Copy)]
pub struct Sum<'a> {
    /// `[rows, hidden]`
    pub x: &'a [f32],
    /// `[rows, hidden]`, or nothing.
    pub residual: Option<&'a [f32]>,
    /// Acts on x alone; with the key of each row.
    pub dropout: Option<(Dropout, &'a [u32])>,
}

/// The parameters of a layer norm.
#[derive(Debug, Clone, Copy)]
pub struct Norm<'a> {
    /// `[hidden]`
    pub gain: &'a [f32],
    /// `[hidden]`
    pub bias: &'a [f32],
    /// Added to the variance, so that a constant row stays finite.
    pub epsilon: f32,
}

/// What the backward pass needs.
#[derive(Debug)]
pub struct Saved<'a> {
    /// (s - mean) * rstd, `[rows, hidden]`.
    pub normalized: &'a mut [f32],
    /// 1 / sqrt(var + epsilon), `[rows]`.
    pub rstd: &'a mut [f32],
}

/// Where the backward pass writes.
#[derive(Debug)]
pub struct Gradients<'a> {
    /// `[rows, hidden]`, if there was a residual.
    pub residual: Option<(&'a mut [f32], Write)>,
    /// `[rows, hidden]`, overwritten.
    pub x: &'a mut [f32],
    /// `[hidden]`, added to.
    pub gain: &'a mut [f32],
    /// `[hidden]`, added to.
    pub bias: &'a mut [f32],
}

/// out = gain * (s - mean) * rstd + bias, by row; the variance is the biased mean of squares.
///
/// # Panics
/// If a length does not fit.
pub fn forward(threads: &Threads, sum: Sum<'_>, norm: Norm<'_>, out: &mut [f32], saved: Option<Saved<'_>>) {
    let hidden = norm.gain.len();
    let rows = sum.x.len() / hidden;
    sum.check(rows, hidden);
    assert_eq!((norm.bias.len(), out.len()), (hidden, rows * hidden), "layer norm: bias and out");
    let wide = BLOCK * hidden;
    let saved: Vec<Option<(&mut [f32], &mut [f32])>> = match saved {
        Some(Saved { normalized, rstd }) => {
            assert_eq!((normalized.len(), rstd.len()), (sum.x.len(), rows), "layer norm: saved");
            normalized.chunks_mut(wide).zip(rstd.chunks_mut(BLOCK)).map(Some).collect()
        }
        None => (0..rows.div_ceil(BLOCK)).map(|_| None).collect(),
    };
    let blocks = out.chunks_mut(wide).zip(saved).enumerate().collect();
    threads.for_each(blocks, |(number, (out, mut saved))| {
        vectorize(
            threads.instructions(),
            #[inline(always)]
            || {
                for (r, out) in out.chunks_exact_mut(hidden).enumerate() {
                    sum.row(number * BLOCK + r, out);
                    let saved = saved
                        .as_mut()
                        .map(|(normalized, rstd)| (&mut normalized[r * hidden..][..hidden], &mut rstd[r]));
                    normalize_row(norm, out, saved);
                }
            },
        );
    });
}

impl Sum<'_> {
    fn check(self, rows: usize, hidden: usize) {
        assert_eq!(self.x.len(), rows * hidden, "layer norm: x");
        assert!(self.residual.is_none_or(|r| r.len() == self.x.len()), "layer norm: residual");
        assert!(self.dropout.is_none_or(|(_, keys)| keys.len() == rows), "layer norm: row keys");
    }

    /// s of one row. `out` holds the multipliers first: a buffer of their own would be one more stream through the cache.
    #[inline(always)]
    fn row(self, row: usize, out: &mut [f32]) {
        let at = row * out.len()..(row + 1) * out.len();
        let x = &self.x[at.clone()];
        match (self.dropout, self.residual.map(|residual| &residual[at])) {
            (Some((mask, keys)), Some(residual)) => {
                mask.fill(keys[row], out);
                out.iter_mut().zip(x).zip(residual).for_each(|((o, x), r)| *o = *o * x + r);
            }
            (Some((mask, keys)), None) => {
                mask.fill(keys[row], out);
                out.iter_mut().zip(x).for_each(|(o, x)| *o *= x);
            }
            (None, Some(residual)) => {
                out.iter_mut().zip(x).zip(residual).for_each(|((o, x), r)| *o = x + r);
            }
            (None, None) => out.copy_from_slice(x),
        }
    }
}

/// Normalises a row in place.
// Two passes for the variance, mean first: the sum of squares less the square of the sum, in one pass, would cancel where
// the mean is large beside the spread.
#[inline(always)]
fn normalize_row(norm: Norm<'_>, row: &mut [f32], saved: Option<(&mut [f32], &mut f32)>) {
    let hidden = row.len() as f32;
    let mean = sum(row) / hidden;
    let rstd = 1.0 / (subtract_and_sum_squares(row, mean) / hidden + norm.epsilon).sqrt();
    match saved {
        Some((normalized, saved_rstd)) => {
            *saved_rstd = rstd;
            for (((o, n), g), b) in row.iter_mut().zip(normalized).zip(norm.gain).zip(norm.bias) {
                *n = *o * rstd;
                *o = n.mul_add(*g, *b);
            }
        }
        None => {
            for ((o, g), b) in row.iter_mut().zip(norm.gain).zip(norm.bias) {
                *o = (*o * rstd).mul_add(*g, *b);
            }
        }
    }
}

/// With u = d_out * gain: d_s = rstd (u - mean(u) - normalized mean(u normalized)); the residual's gradient is d_s, that of
/// x the masked d_s; those of gain and bias are sums over rows, by fixed blocks, added in order.
///
/// `normalized` `[rows, hidden]` and `rstd` `[rows]` are what the forward pass saved; `dropout` is that of its x.
///
/// # Panics
/// If a length does not fit.
pub fn backward(
    threads: &Threads,
    gain: &[f32],
    normalized: &[f32],
    rstd: &[f32],
    d_out: &[f32],
    dropout: Option<(Dropout, &[u32])>,
    gradients: Gradients<'_>,
) {
    let (rows, hidden) = (rstd.len(), gain.len());
    let Gradients { residual, x: d_x, gain: d_gain, bias: d_bias } = gradients;
    assert_eq!([d_out.len(), normalized.len(), d_x.len()], [rows * hidden; 3], "layer norm: lengths");
    assert_eq!([d_gain.len(), d_bias.len()], [hidden; 2], "layer norm: parameters");
    let blocks = d_x.chunks_mut(BLOCK * hidden).zip(residual_blocks(residual, rows, hidden)).enumerate().collect();
    // Each block has its own sums, which are added in the order of the blocks: no bit depends on the threads.
    let partial_sums = threads.map(blocks, |(number, (d_x, mut d_residual)): (usize, (&mut [f32], ResidualBlock))| {
        let mut sums = vec![0.0f32; 2 * hidden];
        vectorize(
            threads.instructions(),
            #[inline(always)]
            || {
                for (r, d_x) in d_x.chunks_exact_mut(hidden).enumerate() {
                    // d_x holds d_s until the residual has it; the mask comes last.
                    let row = number * BLOCK + r;
                    let at = row * hidden..(row + 1) * hidden;
                    backward_row(&d_out[at.clone()], &normalized[at], rstd[row], gain, d_x, &mut sums);
                    if let Some((residual, write)) = &mut d_residual {
                        write_row(&mut residual[r * hidden..][..hidden], *write, d_x);
                    }
                    if let Some((mask, keys)) = dropout {
                        mask_row(&mask, keys[row], d_x);
                    }
                }
            },
        );
        sums
    });
    // Gain first, bias second in each: `sums` is one allocation for both.
    for sums in partial_sums {
        d_gain.iter_mut().zip(&sums[..hidden]).for_each(|(d, s)| *d += s);
        d_bias.iter_mut().zip(&sums[hidden..]).for_each(|(d, s)| *d += s);
    }
}

/// A block of rows of the residual's gradient.
type ResidualBlock<'a> = Option<(&'a mut [f32], Write)>;

fn residual_blocks(residual: ResidualBlock<'_>, rows: usize, hidden: usize) -> Vec<ResidualBlock<'_>> {
    match residual {
        Some((residual, write)) => {
            assert_eq!(residual.len(), rows * hidden, "layer norm: residual");
            residual.chunks_mut(BLOCK * hidden).map(|block| Some((block, write))).collect()
        }
        None => (0..rows.div_ceil(BLOCK)).map(|_| None).collect(),
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
fn write_row(to: &mut [f32], write: Write, from: &[f32]) {
    match write {
        Write::Overwrite => to.copy_from_slice(from),
        Write::Accumulate => to.iter_mut().zip(from).for_each(|(to, from)| *to += from),
    }
}

/// Multiplies a row with its multipliers, made 128 at a time: one call of the generator fills that many, and they stay in L1.
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

        fn site(&self) -> Option<(Dropout, &[u32])> {
            self.dropout.map(|d| (d, &self.keys[..]))
        }

        fn sum(&self) -> Sum<'_> {
            Sum { x: &self.x, residual: Some(&self.residual), dropout: self.site() }
        }

        fn norm(&self) -> Norm<'_> {
            Norm { gain: &self.gain, bias: &self.bias, epsilon: EPS }
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
            forward(threads, self.sum(), self.norm(), &mut out, Some(saved));
            [out, normalized, rstd]
        }
    }

    // Up to 200 rows, which are several blocks of 64, and widths below, at and above whole vectors.
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
        forward(&threads, Sum { residual: None, ..case.sum() }, case.norm(), &mut bare, None);
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
    fn gradients(case: &Case, d_out: &[f32], write: Write, threads: &Threads) -> [Vec<f32>; 4] {
        let [_, normalized, rstd] = case.forward(threads);
        let [mut d_gain, mut d_bias] = [0; 2].map(|_| vec![1.0; case.hidden]);
        let (mut d_residual, mut d_x) = (vec![1.0; d_out.len()], vec![f32::NAN; d_out.len()]);
        let targets =
            Gradients { residual: Some((&mut d_residual, write)), x: &mut d_x, gain: &mut d_gain, bias: &mut d_bias };
        backward(threads, &case.gain, &normalized, &rstd, d_out, case.site(), targets);
        [d_residual, d_x, d_gain, d_bias]
    }

    #[test]
    fn gradients_are_the_slopes_of_the_definition() {
        for (rows, hidden) in [(0, 8), (1, 7), (2, 8), (3, 9), (2, 31), (5, 17)] {
            for (dropout, write) in [(false, Write::Overwrite), (true, Write::Accumulate)] {
                let case = Case::new(rows, hidden, dropout);
                let d_out = random(5, rows * hidden);
                let got = gradients(&case, &d_out, write, &Threads::new(1).unwrap());
                let at = [&case.residual, &case.x, &case.gain, &case.bias].map(|v| wide(v));
                for (which, got) in got.iter().enumerate() {
                    let before = if which > 1 || (which == 0 && write == Write::Accumulate) { 1.0 } else { 0.0 };
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
            let flat = same_bits(|threads| gradients(&case, &d_out, Write::Overwrite, threads).concat());
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

    /// Other blocks would give other bits, and with them other scores under the same name.
    #[test]
    fn parameter_gradients_are_sums_over_blocks_of_64_rows_added_in_order() {
        let (rows, hidden) = (200, 9);
        let case = Case::new(rows, hidden, true);
        let d_out = random(5, rows * hidden);
        let [.., d_bias] = gradients(&case, &d_out, Write::Overwrite, &Threads::new(2).unwrap());
        for c in 0..hidden {
            let sum = |block: &[f32]| block.chunks(hidden).map(|row| row[c]).sum::<f32>();
            let want = d_out.chunks(64 * hidden).map(sum).fold(1.0, |total, block| total + block);
            assert_eq!(d_bias[c], want, "column {c}");
        }
    }
}
