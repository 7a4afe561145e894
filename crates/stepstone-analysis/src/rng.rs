//! SplitMix64: the random numbers of permutations and resamples, in ten lines that any language can repeat.
//!
//! Source: Steele, Lea and Flood 2014 (Fast splittable pseudorandom number generators, OOPSLA); the page
//! docs/statistics.md says which numbers are drawn for what.

/// A SplitMix64 generator; its state is the seed.
#[derive(Debug, Clone)]
pub struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    /// Starts at `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`: the high half of a 128-bit product.
    pub fn below(&mut self, bound: u32) -> u32 {
        // A bias of at most bound / 2^64, which no study can notice, and no loop whose length depends on luck.
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u32
    }

    /// Shuffles the identity of 0..k into `order` (Fisher and Yates, from the end).
    pub fn permutation(&mut self, order: &mut [u32]) {
        for (i, slot) in order.iter_mut().enumerate() {
            *slot = i as u32;
        }
        // From the end and from the identity each time, so that a permutation depends on those before it only through
        // the generator.
        for i in (1..order.len()).rev() {
            order.swap(i, self.below(i as u32 + 1) as usize);
        }
    }
}

/// `count` permutations of 0..k, one after the other: `[count * k]`.
pub(crate) fn permutations(seed: u64, count: u32, k: usize) -> Vec<u32> {
    let mut rng = SplitMix64::new(seed);
    let mut orders = vec![0; count as usize * k];
    orders.chunks_exact_mut(k.max(1)).for_each(|order| rng.permutation(order));
    orders
}

/// How often each of 0..k is drawn in `count` resamples of k with replacement: `[count * k]`.
pub(crate) fn resample_weights(seed: u64, count: u32, k: usize) -> Vec<u32> {
    let mut rng = SplitMix64::new(seed);
    let mut weights = vec![0; count as usize * k];
    for weight in weights.chunks_exact_mut(k.max(1)) {
        for _ in 0..k {
            weight[rng.below(k as u32) as usize] += 1;
        }
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reference: the generator written a second time, in Python: tools/golden/make_analysis_hand.py.
    #[test]
    fn streams_equal_those_of_a_second_implementation() {
        let mut zero = SplitMix64::new(0);
        assert_eq!([zero.next_u64(), zero.next_u64()], [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4]);
        let mut default = SplitMix64::new(20_200_705);
        let first = [default.next_u64(), default.next_u64(), default.next_u64()];
        assert_eq!(first, [0x3f49_a06e_92fc_c6fd, 0xc93c_5b6e_6af3_5d05, 0x5dee_3c52_8fad_cdd0]);
        let eleven = permutations(20_200_705, 2, 11);
        assert_eq!(eleven[..11], [10, 0, 9, 4, 6, 8, 1, 5, 3, 7, 2]);
        assert_eq!(eleven[11..], [7, 2, 1, 0, 5, 8, 4, 6, 10, 3, 9]);
    }

    #[test]
    fn resamples_draw_k_of_k() {
        let weights = resample_weights(1, 50, 7);
        assert!(weights.chunks(7).all(|weight| weight.iter().sum::<u32>() == 7));
        assert!(permutations(1, 3, 0).is_empty() && resample_weights(1, 3, 0).is_empty());
    }
}
