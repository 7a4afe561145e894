//! Counter RNG: random numbers as a function of (key, counter), never of a state.
//!
//! Philox 4x32 of Salmon et al. 2011 ("Parallel random numbers: as easy as 1, 2, 3"), 7 rounds.

use crate::simd::{LANES, vectorize};

const ROUNDS: usize = 7;
const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
/// Set in the site word of every draw that is no dropout mask, so that the two never share a counter.
const STREAM_BIT: u32 = 1 << 31;

/// Four random words of a counter.
pub fn philox4x32(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    rounds::<ROUNDS>(counter, key)
}

#[inline(always)]
fn rounds<const N: usize>(mut c: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..N {
        let a = u64::from(c[0]) * u64::from(MULTIPLIERS[0]);
        let b = u64::from(c[2]) * u64::from(MULTIPLIERS[1]);
        c = [(b >> 32) as u32 ^ c[1] ^ key[0], b as u32, (a >> 32) as u32 ^ c[3] ^ key[1], a as u32];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    c
}

/// The dropout of one site in one step.
///
/// Columns 8b..8b+8 of a row take the eight 16-bit fields, low half first, of the block with counter
/// (b, row key, site, step) and the run's seed as key; a column is kept if its field is below the threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    /// round(keep probability * 65536).
    pub threshold: u32,
    /// Multiplier of what is kept: 65536 / threshold.
    pub scale: f32,
    /// The run's seed.
    pub seed: u64,
    /// Optimizer step.
    pub step: u32,
    /// Place in the model: layer * 1024 + kind * 64 + head.
    pub site: u32,
}

impl Dropout {
    /// None where nothing is dropped.
    ///
    /// # Panics
    /// If `probability` is not in 0..1.
    pub fn new(probability: f32, seed: u64, step: u32, site: u32) -> Option<Dropout> {
        assert!((0.0..1.0).contains(&probability), "dropout probability {probability} is not in 0..1");
        let threshold = ((1.0 - f64::from(probability)) * 65536.0).round().max(1.0);
        (threshold < 65536.0).then(|| Dropout {
            threshold: threshold as u32,
            scale: (65536.0 / threshold) as f32,
            seed,
            step,
            site,
        })
    }

    /// The same for one attention head.
    #[must_use]
    pub fn with_head(self, head: u32) -> Dropout {
        Dropout { site: self.site + head, ..self }
    }

    /// Writes 0 or `scale` for columns 0..out.len() of one row.
    pub fn multipliers(&self, row_key: u32, out: &mut [f32]) {
        vectorize(
            #[inline(always)]
            || self.fill(row_key, out),
        );
    }

    /// As [`Dropout::multipliers`], for callers that are vectorised already.
    #[inline(always)]
    pub(crate) fn fill(&self, row_key: u32, out: &mut [f32]) {
        self.fill_from(row_key, 0, out);
    }

    /// As [`Dropout::fill`] for the columns from `first` on, a multiple of 128.
    #[inline(always)]
    pub(crate) fn fill_from(&self, row_key: u32, first: usize, out: &mut [f32]) {
        const WIDTH: usize = 8 * LANES;
        let mut buffer = [0.0f32; WIDTH];
        for (number, chunk) in out.chunks_mut(WIDTH).enumerate() {
            self.fill_wide(row_key, (first / 8 + number * LANES) as u32, &mut buffer);
            chunk.copy_from_slice(&buffer[..chunk.len()]);
        }
    }

    /// Sixteen blocks side by side, from column block `first` on.
    #[inline(always)]
    fn fill_wide(&self, row_key: u32, first: u32, out: &mut [f32; 8 * LANES]) {
        let mut c = [[0u32; LANES], [row_key; LANES], [self.site; LANES], [self.step; LANES]];
        for lane in 0..LANES {
            c[0][lane] = first + lane as u32;
        }
        let mut key = [self.seed as u32, (self.seed >> 32) as u32];
        for _ in 0..ROUNDS {
            let mut next = [[0u32; LANES]; 4];
            for lane in 0..LANES {
                let a = u64::from(c[0][lane]) * u64::from(MULTIPLIERS[0]);
                let b = u64::from(c[2][lane]) * u64::from(MULTIPLIERS[1]);
                next[0][lane] = (b >> 32) as u32 ^ c[1][lane] ^ key[0];
                next[1][lane] = b as u32;
                next[2][lane] = (a >> 32) as u32 ^ c[3][lane] ^ key[1];
                next[3][lane] = a as u32;
            }
            c = next;
            key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
        }
        for lane in 0..LANES {
            for word in 0..4 {
                let bits = c[word][lane];
                out[lane * 8 + word * 2] = if bits & 0xffff < self.threshold { self.scale } else { 0.0 };
                out[lane * 8 + word * 2 + 1] = if bits >> 16 < self.threshold { self.scale } else { 0.0 };
            }
        }
    }
}

/// A number in 0..1 with 53 random bits: draw `index` of `stream`.
pub fn uniform(seed: u64, stream: u32, index: u64) -> f64 {
    (draw(seed, stream, index) >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// A standard normal number: draw `index` of `stream` (Box and Muller 1958, the cosine branch).
pub fn normal(seed: u64, stream: u32, index: u64) -> f64 {
    let words = block(seed, stream, index);
    let unit = |low: u32, high: u32| {
        let bits = (u64::from(high) << 32 | u64::from(low)) >> 11;
        (bits as f64 + 0.5) * (1.0 / (1u64 << 53) as f64)
    };
    let (u, v) = (unit(words[0], words[1]), unit(words[2], words[3]));
    (-2.0 * u.ln()).sqrt() * (2.0 * std::f64::consts::PI * v).cos()
}

/// A random order of 0..n (Fisher and Yates; the bias of the multiply-shift is below n / 2^64).
pub fn permutation(seed: u64, stream: u32, n: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..n as u32).collect();
    for i in (1..n).rev() {
        let j = (u128::from(draw(seed, stream, i as u64)) * (i as u128 + 1)) >> 64;
        order.swap(i, j as usize);
    }
    order
}

fn draw(seed: u64, stream: u32, index: u64) -> u64 {
    let words = block(seed, stream, index);
    u64::from(words[1]) << 32 | u64::from(words[0])
}

fn block(seed: u64, stream: u32, index: u64) -> [u32; 4] {
    let counter = [index as u32, (index >> 32) as u32, STREAM_BIT, stream];
    philox4x32(counter, [seed as u32, (seed >> 32) as u32])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known-answer vectors of Random123 1.14, `kat_vectors`, philox4x32 with 10 rounds.
    #[test]
    fn ten_rounds_give_the_published_vectors() {
        let table = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, want) in table {
            assert_eq!(rounds::<10>(counter, key), want, "{counter:x?}");
        }
    }

    #[test]
    fn multipliers_are_the_fields_of_the_counter_blocks() {
        let dropout = Dropout::new(0.1, 0x1234_5678_9abc_def0, 7, 1088).expect("p > 0");
        for len in [0, 1, 7, 8, 9, 31, 128, 129, 300] {
            let mut row = vec![-1.0; len];
            dropout.multipliers(65_539, &mut row);
            for (column, got) in row.iter().enumerate() {
                let words = philox4x32([column as u32 / 8, 65_539, 1088, 7], [0x9abc_def0, 0x1234_5678]);
                let field = words[column % 8 / 2] >> (16 * (column % 2)) & 0xffff;
                let want = if field < dropout.threshold { dropout.scale } else { 0.0 };
                assert_eq!(*got, want, "len {len} column {column}");
            }
        }
    }

    #[test]
    fn the_keep_rate_is_the_one_asked_for_and_its_mean_is_one() {
        for p in [0.1f32, 0.3, 0.5] {
            let dropout = Dropout::new(p, 42, 0, 64).expect("p > 0");
            let mut sum = 0.0;
            let mut row = [0.0f32; 400];
            for key in 0..1000 {
                dropout.multipliers(key, &mut row);
                sum += row.iter().map(|m| f64::from(*m)).sum::<f64>();
            }
            // 400,000 draws: five standard errors of the mean multiplier.
            let bound = 5.0 * f64::from(p / (1.0 - p) / 400_000.0).sqrt();
            assert!((sum / 400_000.0 - 1.0).abs() < bound, "p {p}: {}", sum / 400_000.0);
        }
        assert_eq!(Dropout::new(0.0, 1, 1, 1), None);
    }

    #[test]
    fn permutations_hold_every_index_once_and_differ_by_stream() {
        for n in [0, 1, 2, 31, 1000] {
            let mut order = permutation(5, 1, n);
            assert!(n < 3 || order != permutation(5, 2, n));
            order.sort_unstable();
            assert!(order.iter().enumerate().all(|(i, v)| i == *v as usize), "n {n}");
        }
    }

    #[test]
    fn normals_have_mean_zero_and_variance_one() {
        let draws: Vec<f64> = (0..100_000).map(|i| normal(9, 3, i)).collect();
        let mean = draws.iter().sum::<f64>() / 1e5;
        let variance = draws.iter().map(|d| d * d).sum::<f64>() / 1e5;
        assert!(mean.abs() < 5.0 / 1e5f64.sqrt() && (variance - 1.0).abs() < 5.0 * (2.0 / 1e5f64).sqrt());
        assert!((0..10_000).all(|i| (0.0..1.0).contains(&uniform(9, 3, i))));
    }
}
