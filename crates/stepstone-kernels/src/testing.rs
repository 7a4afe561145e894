//! What the tests of all kernels share: seeded data, difference quotients, comparisons.

use crate::philox::normal;
use crate::simd::InstructionSet;
use crate::threads::Threads;

/// `len` standard normal numbers.
pub(crate) fn random(stream: u32, len: usize) -> Vec<f32> {
    (0..len as u64).map(|i| normal(20_261_124, stream, i) as f32).collect()
}

/// The same numbers in f64.
pub(crate) fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|x| f64::from(*x)).collect()
}

/// The result of `work` on one thread, after checking that 1, 2 and 8 threads give the same bits with every instruction set
/// that has vectors.
// Without vectors, products go through another crate and sum in another order. Those bits are compared among themselves,
// and with the others to 1e-5 of the largest value.
pub(crate) fn same_bits(work: impl Fn(&Threads) -> Vec<f32>) -> Vec<f32> {
    let run = |set: InstructionSet, count: usize| work(&Threads::with_instructions(count, set).unwrap());
    let best = run(InstructionSet::best(), 1);
    for set in InstructionSet::available() {
        let one = if set.lanes() > 1 { best.clone() } else { run(set, 1) };
        // Eight threads are more than some cases have work items.
        for count in [1, 2, 8] {
            let other = run(set, count);
            let differs = one.iter().zip(&other).position(|(a, b)| a.to_bits() != b.to_bits());
            assert_eq!((one.len(), differs), (other.len(), None), "{set:?} with {count} threads gives different bits");
        }
        let scale = best.iter().fold(1.0f32, |scale, value| scale.max(value.abs()));
        let far = one.iter().zip(&best).position(|(a, b)| (a - b).abs() > 1e-5 * scale);
        assert_eq!(far, None, "{set:?} gives different numbers from the best set");
    }
    best
}

/// Each element of `got` is within `bound` of `want`.
pub(crate) fn close(what: &str, got: &[f32], want: &[f64], bound: f64) {
    close_each(what, got, want, |_| bound);
}

/// Each element of `got` is within `bound(index)` of `want`. NaN is never close.
pub(crate) fn close_each(what: &str, got: &[f32], want: &[f64], bound: impl Fn(usize) -> f64) {
    assert_eq!(got.len(), want.len(), "{what}: lengths");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let error = (f64::from(*got) - want).abs();
        assert!(error <= bound(i), "{what}[{i}] = {got}, want {want}: off by {error:e}, allowed {:e}", bound(i));
    }
}

/// Central difference quotients of `function` by every element of `at`; good to roughly 1e-9 for smooth functions near 1.
pub(crate) fn difference_quotients(at: &[f64], function: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    // Near the cube root of f64's epsilon, where rounding and truncation errors balance.
    let h = 1e-5;
    let mut point = at.to_vec();
    let mut quotients = Vec::with_capacity(at.len());
    for i in 0..at.len() {
        let mut moved = |to: f64| {
            point[i] = to;
            function(&point)
        };
        let quotient = (moved(at[i] + h) - moved(at[i] - h)) / (2.0 * h);
        point[i] = at[i];
        quotients.push(quotient);
    }
    quotients
}
