//! The machine's rate of fused multiply-adds in registers alone, the yardstick for matrix products.

use crate::simd::InstructionSet;
use crate::threads::Threads;
use std::hint::black_box;
use std::time::Instant;

/// Independent chains: enough for two units of four cycles' latency, few enough for sixteen registers.
const CHAINS: usize = 12;

/// Runs [`flops`]`(threads, steps)` floating-point operations.
pub fn fused_multiply_adds(threads: &Threads, steps: usize) {
    threads.for_each(vec![(); threads.count()], |()| {
        black_box(threads.instructions().0.dispatch(Chains { steps }));
    });
}

/// Operations of [`fused_multiply_adds`]; a fused multiply-add is two.
pub fn flops(threads: &Threads, steps: usize) -> usize {
    2 * threads.count() * steps * CHAINS * InstructionSet::lanes(threads.instructions())
}

/// The best of several short tries, in floating-point operations per second.
///
/// The best, because a rate cannot be too high by chance; short, so that one try falls between two interruptions.
pub fn fma_rate(threads: &Threads) -> f64 {
    const TRIES: usize = 10;
    const STEPS: usize = 3_000_000;
    let rate = |_| {
        let start = Instant::now();
        fused_multiply_adds(threads, STEPS);
        flops(threads, STEPS) as f64 / start.elapsed().as_secs_f64()
    };
    (0..TRIES).map(rate).fold(0.0, f64::max)
}

struct Chains {
    steps: usize,
}

impl pulp::WithSimd for Chains {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, simd: S) -> f32 {
        // Hidden from the compiler, which would compute the fixed point of the chain instead. It converges to 1, so no number
        // grows or becomes subnormal.
        let [factor, summand] = black_box([0.999, 1e-3]).map(|x| simd.splat_f32s(x));
        let mut chains = [simd.splat_f32s(1.0); CHAINS];
        for _ in 0..self.steps {
            for chain in &mut chains {
                *chain = simd.mul_add_f32s(*chain, factor, summand);
            }
        }
        chains.into_iter().map(|chain| simd.reduce_sum_f32s(chain)).sum()
    }
}
