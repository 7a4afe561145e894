//! Counter RNG: random numbers as a function of (key, counter), never of a state.
//!
//! Philox 4x32 of Salmon et al. 2011 ("Parallel random numbers: as easy as 1, 2, 3"), 7 rounds.

use crate::simd::{InstructionSet, LANES, vectorize};

/// Seven rounds are the fewest that pass all statistical tests of the paper; its default of ten is a margin of safety.
const ROUNDS: usize = 7;
/// Multipliers and key increments of the paper: the increments are the golden ratio and sqrt(3) - 1 as fractions of 2^32.
const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
/// Set in the site word of every draw other than a dropout mask, so that draws and masks never share a counter.
const STREAM_BIT: u32 = 1 << 31;

/// Four random words of a counter.
pub fn philox4x32(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    rounds::<ROUNDS, 1>(counter.map(|word| [word]), key).map(|[word]| word)
}

/// `N` rounds of `WIDTH` counters side by side, word by word.
// Each word lies in 64 bits, as vector products do: shuffling halves together after each round would take longer than the
// products.
#[inline(always)]
fn rounds<const N: usize, const WIDTH: usize>(counters: [[u32; WIDTH]; 4], mut key: [u32; 2]) -> [[u32; WIDTH]; 4] {
    const LOW: u64 = 0xffff_ffff;
    let mut c = [[0u64; WIDTH]; 4];
    for word in 0..4 {
        for lane in 0..WIDTH {
            c[word][lane] = u64::from(counters[word][lane]);
        }
    }
    for _ in 0..N {
        for lane in 0..WIDTH {
            // Only the low half of a word counts; the high half is left over from the last product.
            let a = (c[0][lane] & LOW) * u64::from(MULTIPLIERS[0]);
            let b = (c[2][lane] & LOW) * u64::from(MULTIPLIERS[1]);
            c[0][lane] = (b >> 32) ^ c[1][lane] ^ u64::from(key[0]);
            c[1][lane] = b;
            c[2][lane] = (a >> 32) ^ c[3][lane] ^ u64::from(key[1]);
            c[3][lane] = a;
        }
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    let mut words = [[0u32; WIDTH]; 4];
    for word in 0..4 {
        for lane in 0..WIDTH {
            words[word][lane] = c[word][lane] as u32;
        }
    }
    words
}

fn split(seed: u64) -> [u32; 2] {
    [seed as u32, (seed >> 32) as u32]
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
    /// None if nothing is dropped.
    ///
    /// # Panics
    /// If `probability` is not in 0..1.
    pub fn new(probability: f32, seed: u64, step: u32, site: u32) -> Option<Self> {
        assert!((0.0..1.0).contains(&probability), "dropout probability {probability} is not in 0..1");
        // 16 bits a number: eight numbers from one block. The probability is rounded to 1/65,536, and `scale` is the inverse
        // of the rounded one, so that the expectation is exact. At least 1, or scale would be infinite.
        let threshold = ((1.0 - f64::from(probability)) * 65536.0).round().max(1.0);
        (threshold < 65536.0).then(|| Self {
            threshold: threshold as u32,
            scale: (65536.0 / threshold) as f32,
            seed,
            step,
            site,
        })
    }

    /// The same for one attention head.
    #[must_use]
    pub fn with_head(self, head: u32) -> Self {
        Self { site: self.site + head, ..self }
    }

    /// Writes 0 or `scale` for columns 0..out.len() of one row.
    pub fn multipliers(&self, row_key: u32, out: &mut [f32]) {
        vectorize(
            InstructionSet::best(),
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
        // Through a buffer: the last chunk of a row is seldom whole, and whole ones keep the loop vectorised.
        const WIDTH: usize = 8 * LANES;
        let mut buffer = [0.0f32; WIDTH];
        for (number, chunk) in out.chunks_mut(WIDTH).enumerate() {
            self.fill_wide(row_key, (first / 8 + number * LANES) as u32, &mut buffer);
            chunk.copy_from_slice(&buffer[..chunk.len()]);
        }
    }

    /// As [`Dropout::fill`] for the first `columns` columns of several rows, in `out` `[rows, width]`; columns up to the next
    /// multiple of 8 are written, too. `width` is a multiple of 8.
    // Blocks of several rows go side by side: a row of a few dozen keys would fill a third of the lanes.
    #[inline(always)]
    pub(crate) fn fill_rows(&self, row_keys: &[u32], columns: usize, width: usize, out: &mut [f32]) {
        let per_row = columns.div_ceil(8);
        let (mut blocks, mut keys, mut places) = ([0; LANES], [0; LANES], [0; LANES]);
        let (mut row, mut block) = (0, 0);
        while row < row_keys.len() {
            let mut filled = 0;
            while filled < LANES && row < row_keys.len() {
                (blocks[filled], keys[filled], places[filled]) = (block as u32, row_keys[row], row * width + 8 * block);
                block += 1;
                if block == per_row {
                    (row, block) = (row + 1, 0);
                }
                filled += 1;
            }
            let mut buffer = [0.0f32; 8 * LANES];
            self.fill_blocks(blocks, keys, &mut buffer);
            for (place, eight) in places[..filled].iter().zip(buffer.as_chunks::<8>().0) {
                *out[*place..].first_chunk_mut().expect("a row has whole blocks") = *eight;
            }
        }
    }

    /// Sixteen blocks side by side, from column block `first` on.
    #[inline(always)]
    fn fill_wide(&self, row_key: u32, first: u32, out: &mut [f32; 8 * LANES]) {
        let mut blocks = [0; LANES];
        for lane in 0..LANES {
            blocks[lane] = first + lane as u32;
        }
        self.fill_blocks(blocks, [row_key; LANES], out);
    }

    #[inline(always)]
    fn fill_blocks(&self, blocks: [u32; LANES], row_keys: [u32; LANES], out: &mut [f32; 8 * LANES]) {
        let counters = [blocks, row_keys, [self.site; LANES], [self.step; LANES]];
        let c = rounds::<ROUNDS, LANES>(counters, split(self.seed));
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
    // The top 53 bits are as many as f64 holds exactly.
    (draw(seed, stream, index) >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// A standard normal number: draw `index` of `stream` (Box and Muller 1958, the cosine branch).
pub fn normal(seed: u64, stream: u32, index: u64) -> f64 {
    // One block gives the two uniform numbers that Box and Muller need; the sine branch is left, so that draw `index` needs no
    // other draw.
    let words = block(seed, stream, index);
    let unit = |low: u32, high: u32| {
        let bits = (u64::from(high) << 32 | u64::from(low)) >> 11;
        // Half a step above 0, where the logarithm would be infinite.
        (bits as f64 + 0.5) * (1.0 / (1u64 << 53) as f64)
    };
    let (u, v) = (unit(words[0], words[1]), unit(words[2], words[3]));
    (-2.0 * u.ln()).sqrt() * (2.0 * std::f64::consts::PI * v).cos()
}

/// A random order of 0..n (Fisher and Yates; the bias of the multiply-shift is below n / 2^64).
pub fn permutation(seed: u64, stream: u32, n: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..n as u32).collect();
    for i in (1..n).rev() {
        // The high half of draw * (i + 1) is a number in 0..=i: no division, and one draw for each place.
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
    let [low, high] = split(index);
    philox4x32([low, high, STREAM_BIT, stream], split(seed))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers of Random123 1.14, file `tests/kat_vectors`, lines `philox4x32 7` and `philox4x32 10`.
    #[test]
    fn known_answers() {
        let pi = ([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]);
        let (zero, one) = (([0; 4], [0; 2]), ([u32::MAX; 4], [u32::MAX; 2]));
        let table = [
            (
                zero,
                [0x5f6f_b709, 0x0d89_3f64, 0x4f12_1f81, 0x4f73_0a48],
                [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8],
            ),
            (
                one,
                [0x5207_ddc2, 0x4516_5e59, 0x4d8e_e751, 0x8c52_f662],
                [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd],
            ),
            (
                pi,
                [0x4dfc_caba, 0x190a_87f0, 0xc473_62ba, 0xb6b5_242a],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for ((counter, key), seven, ten) in table {
            assert_eq!(philox4x32(counter, key), seven, "7 rounds of {counter:x?} {key:x?}");
            assert_eq!(
                rounds::<10, 1>(counter.map(|word| [word]), key),
                ten.map(|word| [word]),
                "10 rounds of {counter:x?}"
            );
        }
    }

    /// Rows of every length, side by side, have the bits that each has alone.
    #[test]
    fn rows_side_by_side_are_the_rows() {
        let dropout = Dropout::new(0.3, 5, 6, 7).unwrap();
        for rows in [0usize, 1, 2, 3, 16, 17] {
            for columns in [1usize, 7, 8, 9, 39, 128, 131] {
                let (keys, width) =
                    ((0..rows as u32).map(|r| 3 * r + 1).collect::<Vec<_>>(), columns.next_multiple_of(8) + 8);
                let mut found = vec![-1.0; rows * width];
                dropout.fill_rows(&keys, columns, width, &mut found);
                for (row, key) in found.chunks(width).zip(&keys) {
                    let mut want = vec![0.0; columns];
                    dropout.multipliers(*key, &mut want);
                    assert_eq!(row[..columns], want, "{rows} rows of {columns}");
                    assert!(row[columns.next_multiple_of(8)..].iter().all(|v| *v == -1.0), "beyond the last block");
                }
            }
        }
    }

    /// The definition, one column at a time.
    fn multiplier_by_definition(dropout: &Dropout, row_key: u32, column: usize) -> f32 {
        let key = [dropout.seed as u32, (dropout.seed >> 32) as u32];
        let words = philox4x32([column as u32 / 8, row_key, dropout.site, dropout.step], key);
        let field = words[column % 8 / 2] >> (16 * (column % 2)) & 0xffff;
        if field < dropout.threshold { dropout.scale } else { 0.0 }
    }

    #[test]
    fn multipliers_follow_the_definition() {
        let dropout = Dropout::new(0.3, 0x1234_5678_9abc_def0, 7, 1024 + 64).unwrap().with_head(5);
        assert_eq!(dropout.site, 1024 + 64 + 5);
        for len in [0, 1, 7, 8, 9, 31, 97, 128, 129, 1000] {
            let mut out = vec![f32::NAN; len];
            dropout.multipliers(65_537, &mut out);
            let want: Vec<f32> = (0..len).map(|c| multiplier_by_definition(&dropout, 65_537, c)).collect();
            assert_eq!(out, want, "{len} columns");
        }
    }

    #[test]
    fn threshold_and_scale() {
        assert_eq!(Dropout::new(0.0, 1, 2, 3), None);
        let dropout = Dropout::new(0.1, 1, 2, 3).unwrap();
        assert_eq!((dropout.threshold, dropout.scale), (58_982, 65_536.0 / 58_982.0));
    }

    /// The share kept of n independent draws has a standard deviation of sqrt(p (1 - p) / n); six of them is the bound.
    /// Neighbours (columns, rows, steps, sites) are kept together as often as independent ones would be.
    #[test]
    fn masks_keep_their_share_and_are_independent() {
        let (rows, columns) = (512, 384);
        let dropout = Dropout::new(0.1, 42, 10, 1088).unwrap();
        let mask = |d: Dropout| -> Vec<bool> {
            let mut all = vec![0.0; rows * columns];
            all.chunks_mut(columns).enumerate().for_each(|(r, out)| d.multipliers(r as u32, out));
            all.iter().map(|m| *m > 0.0).collect()
        };
        let base = mask(dropout);
        let n = base.len() as f64;
        let share = |kept: &mut dyn Iterator<Item = bool>| kept.filter(|k| *k).count() as f64 / n;
        let p = f64::from(dropout.threshold) / 65_536.0;
        let bound = |p: f64| 6.0 * (p * (1.0 - p) / n).sqrt();
        assert!((share(&mut base.iter().copied()) - p).abs() < bound(p));
        let others = [
            mask(Dropout { step: 11, ..dropout }),
            mask(Dropout { seed: 43, ..dropout }),
            mask(dropout.with_head(1)),
            base[1..].to_vec(),
            base[columns..].to_vec(),
        ];
        for (number, other) in others.iter().enumerate() {
            let both = share(&mut base.iter().zip(other).map(|(a, b)| *a && *b));
            let expected = p * p * other.len() as f64 / n;
            assert!((both - expected).abs() < bound(p * p), "pair {number}: {both} against {expected}");
        }
    }

    #[test]
    fn uniform_and_normal_have_their_moments() {
        let n = 200_000u64;
        let moments = |draw: &dyn Fn(u64) -> f64| {
            let mean = (0..n).map(draw).sum::<f64>() / n as f64;
            (mean, (0..n).map(|i| (draw(i) - mean).powi(2)).sum::<f64>() / n as f64)
        };
        let (mean, variance) = moments(&|i| uniform(5, 1, i));
        let deviations = 6.0 / (n as f64).sqrt(); // six standard deviations of a mean of unit variance
        assert!((mean - 0.5).abs() < deviations / 12f64.sqrt(), "{mean}");
        assert!((variance - 1.0 / 12.0).abs() < deviations / 180f64.sqrt(), "{variance}");
        let (mean, variance) = moments(&|i| normal(5, 2, i));
        assert!(mean.abs() < deviations, "{mean}");
        assert!((variance - 1.0).abs() < deviations * 2f64.sqrt(), "{variance}");
        assert!((0..n).all(|i| (0.0..1.0).contains(&uniform(5, 1, i)) && normal(5, 2, i).is_finite()));
    }

    #[test]
    fn permutations_are_permutations_and_differ_by_seed_and_stream() {
        for n in [0, 1, 2, 7, 1000] {
            let mut sorted = permutation(3, 4, n);
            sorted.sort_unstable();
            assert_eq!(sorted, (0..n as u32).collect::<Vec<_>>());
        }
        assert_eq!(permutation(3, 4, 1000), permutation(3, 4, 1000));
        assert_ne!(permutation(3, 4, 1000), permutation(4, 4, 1000));
        assert_ne!(permutation(3, 4, 1000), permutation(3, 5, 1000));
    }

    /// Each of the 6 orders of 3 comes up 1/6 of the time, within six standard deviations.
    #[test]
    fn orders_are_equally_likely() {
        let n = 60_000;
        let mut counts = std::collections::BTreeMap::new();
        for seed in 0..n {
            *counts.entry(permutation(seed, 0, 3)).or_insert(0u32) += 1;
        }
        let bound = 6.0 * (f64::from(n as u32) * 5.0 / 36.0).sqrt();
        assert_eq!(counts.len(), 6);
        assert!(counts.values().all(|c| (f64::from(*c) - 10_000.0).abs() < bound), "{counts:?}");
    }
}
