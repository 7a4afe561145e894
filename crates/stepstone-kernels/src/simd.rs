//! Run-time choice of the instruction set, and sums whose order does not depend on it.

/// f32 lanes of the widest vector in use; the unit in which loops are written.
// Also on machines with narrower vectors: sums keep one partial sum per lane, so the number of lanes is part of the result,
// and AVX2 and AVX-512 give the same bits only because both work with 16.
pub(crate) const LANES: usize = 16;

/// An instruction set of this machine, for which every kernel is compiled.
#[derive(Debug, Clone, Copy)]
pub struct InstructionSet(pub(crate) pulp::Arch);

impl InstructionSet {
    /// The widest instruction set this machine supports.
    pub fn best() -> Self {
        Self(pulp::Arch::new())
    }

    /// Every instruction set this machine supports, scalar first.
    pub fn available() -> Vec<Self> {
        let mut all = vec![pulp::Arch::Scalar];
        #[cfg(target_arch = "x86_64")]
        all.extend(pulp::x86::V3::try_new().map(pulp::Arch::V3));
        #[cfg(target_arch = "x86_64")]
        all.extend(pulp::x86::V4::try_new().map(pulp::Arch::V4));
        #[cfg(not(target_arch = "x86_64"))]
        all.push(pulp::Arch::new());
        all.into_iter().map(InstructionSet).collect()
    }

    /// f32 lanes of a vector; 1 without vectors.
    pub fn lanes(self) -> usize {
        struct Lanes;
        impl pulp::WithSimd for Lanes {
            type Output = usize;
            #[inline(always)]
            fn with_simd<S: pulp::Simd>(self, _: S) -> usize {
                S::F32_LANES
            }
        }
        self.0.dispatch(Lanes)
    }
}

/// Runs `work` compiled for `set`.
// Mark closures and what they call `inline(always)`: a function that is not inlined is compiled for the baseline
// instruction set, whoever calls it.
#[inline(always)]
pub(crate) fn vectorize<R>(set: InstructionSet, work: impl FnOnce() -> R) -> R {
    set.0.dispatch(work)
}

/// Sum of values: lane i % 16 takes value i, then the lanes are added in order.
// Sixteen partial sums are one or two vector registers, and each rounds a sixteenth as often as one sum would.
#[inline(always)]
pub(crate) fn sum(values: &[f32]) -> f32 {
    let [sum] = lane_sums(values, values, |value, _| [value]);
    sum
}

/// Sum of products, in the order of [`sum`]; each product is rounded.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let [dot] = lane_sums(a, b, |a, b| [a * b]);
    dot
}

/// [`sum`] of a, and [`dot`] of both, in one pass.
#[inline(always)]
pub(crate) fn sum_and_dot(a: &[f32], b: &[f32]) -> [f32; 2] {
    lane_sums(a, b, |a, b| [a, a * b])
}

// Over whole chunks: a checked index would keep the compiler from vectorising the loop.
#[inline(always)]
fn lane_sums<const N: usize>(a: &[f32], b: &[f32], terms: impl Fn(f32, f32) -> [f32; N]) -> [f32; N] {
    let mut lanes = [[0.0f32; LANES]; N];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            let terms = terms(a[lane], b[lane]);
            for n in 0..N {
                lanes[n][lane] += terms[n];
            }
        }
    }
    for (lane, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
        let terms = terms(*a, *b);
        for n in 0..N {
            lanes[n][lane] += terms[n];
        }
    }
    let mut sums = [0.0; N];
    for n in 0..N {
        sums[n] = lanes[n].iter().sum();
    }
    sums
}

/// value = value - shift; returns the sum of the squares of that, in the order of [`sum`].
#[inline(always)]
pub(crate) fn subtract_and_sum_squares(values: &mut [f32], shift: f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (chunks, rest) = values.as_chunks_mut::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            chunk[lane] -= shift;
            lanes[lane] += chunk[lane] * chunk[lane];
        }
    }
    for (lane, value) in rest.iter_mut().enumerate() {
        *value -= shift;
        lanes[lane] += *value * *value;
    }
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, random, wide};

    const SIZES: [usize; 8] = [0, 1, 7, 15, 16, 17, 31, 97];

    /// The definition of the order: lane i % 16 takes value i, then the lanes are added in order.
    fn by_lanes(terms: impl Iterator<Item = f32>) -> f32 {
        let mut lanes = [0.0f32; LANES];
        terms.enumerate().for_each(|(i, term)| lanes[i % LANES] += term);
        lanes.iter().sum()
    }

    #[test]
    fn sums_follow_the_order_of_lanes_with_every_instruction_set() {
        for set in InstructionSet::available() {
            for len in SIZES {
                let (a, b) = (random(1, len), random(2, len));
                let got = vectorize(set, || [sum(&a), dot(&a, &b)]);
                let products = a.iter().zip(&b).map(|(a, b)| a * b);
                let want = [by_lanes(a.iter().copied()), by_lanes(products)];
                assert_eq!(got, want, "{set:?}, {len} values");
                assert_eq!(vectorize(set, || sum_and_dot(&a, &b)), want, "{set:?}, {len} values, in one pass");
            }
        }
    }

    #[test]
    fn squares_are_summed_after_the_shift() {
        for set in InstructionSet::available() {
            for len in SIZES {
                let values = random(3, len);
                let mut shifted = values.clone();
                let squares = vectorize(set, || subtract_and_sum_squares(&mut shifted, 0.25));
                let want: Vec<f32> = values.iter().map(|v| v - 0.25).collect();
                assert_eq!(shifted, want, "{set:?}, {len} values");
                let want = wide(&want).iter().map(|v| v * v).sum::<f64>();
                // A lane sums up to seven squares below 25, and sixteen lanes follow.
                close("squares", &[squares], &[want], 23.0 * 25.0 * f64::from(f32::EPSILON) * (1.0 + want));
            }
        }
    }
}
