//! Gradient norm, scaling and AdamW, each one pass over the parameter arena.

use crate::simd::{InstructionSet, vectorize};
use crate::threads::Threads;

/// Elements of one block of the norm and of the update. For the norm it is part of the result's definition: sums of blocks
/// are added in order, whichever thread computed them.
const BLOCK: usize = 16_384;
/// Elements that share one weight-decay flag: the arena's grid, a multiple of every vector.
pub const CHUNK: usize = 1024;

/// Global L2 norm: f64 sums over fixed blocks, added in order. Not finite if an element is not finite.
///
/// In f64, because the squares of a hundred million small gradients in f32 would lose digits, and could leave its range.
pub fn gradient_norm(threads: &Threads, gradients: &[f32]) -> f64 {
    // Eight blocks an item: a block alone is too little work to hand to a thread.
    let squares = threads.map(gradients.chunks(BLOCK * 8).collect(), |blocks: &[f32]| {
        blocks.chunks(BLOCK).map(|block| square_sum(threads.instructions(), block)).collect::<Vec<f64>>()
    });
    squares.into_iter().flatten().sum::<f64>().sqrt()
}

/// Multiplies every element by `factor`.
pub fn scale(threads: &Threads, gradients: &mut [f32], factor: f32) {
    let blocks: Vec<_> = gradients.chunks_mut(BLOCK).collect();
    threads.for_each(blocks, |block| block.iter_mut().for_each(|g| *g *= factor));
}

fn square_sum(set: InstructionSet, block: &[f32]) -> f64 {
    vectorize(
        set,
        #[inline(always)]
        || {
            // Sixteen sums as in `simd::sum`, here of f64.
            let mut lanes = [0.0f64; 16];
            let (whole, rest) = block.as_chunks::<16>();
            for chunk in whole {
                for lane in 0..16 {
                    lanes[lane] += f64::from(chunk[lane]) * f64::from(chunk[lane]);
                }
            }
            lanes.iter().sum::<f64>() + rest.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>()
        },
    )
}

/// The numbers of one AdamW step, in f64 as PyTorch has them; `step` counts from 1.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(missing_docs, reason = "the names are those of torch.optim.AdamW")]
pub struct AdamW {
    pub learning_rate: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
    pub weight_decay: f64,
    pub step: u64,
    /// Whether the moments are divided by 1 - beta^step, as AdamW does and BertAdam does not.
    pub bias_correction: bool,
    /// Multiplies every gradient first: the clip factor.
    pub gradient_scale: f32,
}

/// One AdamW step in place, and zero for the gradients. `params`, `grads`, `m`, `v` `[len]`; `decays` one flag per
/// [`CHUNK`] elements.
///
/// Source: Loshchilov and Hutter 2019, algorithm 2, with decay `learning_rate * weight_decay` as `torch.optim.AdamW`.
///
/// # Panics
/// If the lengths do not fit or `step` is 0.
pub fn adamw(
    threads: &Threads,
    adamw: &AdamW,
    decays: &[bool],
    params: &mut [f32],
    grads: &mut [f32],
    m: &mut [f32],
    v: &mut [f32],
) {
    assert!(adamw.step > 0, "adamw: steps count from 1");
    assert_eq!([grads.len(), m.len(), v.len()], [params.len(); 3], "adamw: lengths differ");
    assert_eq!(decays.len(), params.len().div_ceil(CHUNK), "adamw: one decay flag per chunk");
    let factors = Factors::new(adamw);
    let blocks: Vec<_> = params
        .chunks_mut(BLOCK)
        .zip(grads.chunks_mut(BLOCK))
        .zip(m.chunks_mut(BLOCK).zip(v.chunks_mut(BLOCK)))
        .zip(decays.chunks(BLOCK / CHUNK))
        .collect();
    threads.for_each(blocks, |(((params, grads), (m, v)), decays)| {
        let chunks = params.chunks_mut(CHUNK).zip(grads.chunks_mut(CHUNK));
        for (((p, g), (m, v)), decay) in chunks.zip(m.chunks_mut(CHUNK).zip(v.chunks_mut(CHUNK))).zip(decays) {
            vectorize(
                threads.instructions(),
                #[inline(always)]
                || factors.apply(if *decay { factors.decay } else { 1.0 }, p, g, m, v),
            );
        }
    });
}

/// The factors of the inner loop, computed in f64: in f32, 1 - 0.999 would keep four digits.
#[derive(Clone, Copy)]
struct Factors {
    beta1: f32,
    /// 1 - beta1.
    rest1: f32,
    beta2: f32,
    /// 1 - beta2.
    rest2: f32,
    gradient_scale: f32,
    /// 1 - learning_rate * weight_decay.
    decay: f32,
    /// learning_rate / (1 - beta1^step), or learning_rate.
    step_size: f32,
    /// 1 / sqrt(1 - beta2^step), or 1.
    inverse_root: f32,
    epsilon: f32,
}

impl Factors {
    fn new(a: &AdamW) -> Self {
        let correction = |beta: f64| if a.bias_correction { 1.0 - beta.powf(a.step as f64) } else { 1.0 };
        Self {
            beta1: a.beta1 as f32,
            rest1: (1.0 - a.beta1) as f32,
            beta2: a.beta2 as f32,
            rest2: (1.0 - a.beta2) as f32,
            gradient_scale: a.gradient_scale,
            decay: (1.0 - a.learning_rate * a.weight_decay) as f32,
            step_size: (a.learning_rate / correction(a.beta1)) as f32,
            inverse_root: (1.0 / correction(a.beta2).sqrt()) as f32,
            epsilon: a.epsilon as f32,
        }
    }

    #[inline(always)]
    fn apply(self, decay: f32, params: &mut [f32], grads: &mut [f32], m: &mut [f32], v: &mut [f32]) {
        for (((p, g), m), v) in params.iter_mut().zip(grads).zip(m).zip(v) {
            let gradient = *g * self.gradient_scale;
            *m = gradient.mul_add(self.rest1, self.beta1 * *m);
            *v = (gradient * gradient).mul_add(self.rest2, self.beta2 * *v);
            // As PyTorch: sqrt(v) / sqrt(1 - beta2^t) + epsilon, with epsilon outside the root.
            let denominator = v.sqrt().mul_add(self.inverse_root, self.epsilon);
            *p = p.mul_add(decay, -self.step_size * (*m / denominator));
            // Zero here costs a store while the line is in the cache; a pass of its own would read all of it again.
            *g = 0.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close_each, random, same_bits, wide};

    // Learning rate and decay are larger than in practice, so that an error in either shows within five steps.
    const OPTIONS: AdamW = AdamW {
        learning_rate: 1e-2,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        weight_decay: 0.1,
        step: 1,
        bias_correction: true,
        gradient_scale: 0.5,
    };
    // Around one vector, one element above a chunk, exactly one block, and part of a third block.
    const SIZES: [usize; 10] = [0, 1, 7, 8, 9, 31, 97, 1025, 16_384, 40_000];

    #[test]
    fn norm_is_that_of_f64() {
        for len in SIZES {
            let grads = random(1, len);
            let norms = [1, 2, 8].map(|count| gradient_norm(&Threads::new(count).unwrap(), &grads));
            assert_eq!([norms[1], norms[2]], [norms[0]; 2]);
            let want = wide(&grads).iter().map(|g| g * g).sum::<f64>().sqrt();
            assert!((norms[0] - want).abs() <= 1e-12 * want, "{len}: {} against {want}", norms[0]);
        }
        let threads = Threads::new(2).unwrap();
        assert!(gradient_norm(&threads, &[1.0, f32::NAN]).is_nan());
        assert_eq!(gradient_norm(&threads, &[f32::INFINITY, 1.0]), f64::INFINITY);
    }

    #[test]
    fn scaling_multiplies_every_element() {
        for len in SIZES {
            let gradients = random(1, len);
            let got = same_bits(|threads| {
                let mut gradients = gradients.clone();
                scale(threads, &mut gradients, 0.3);
                gradients
            });
            assert_eq!(got, gradients.iter().map(|g| g * 0.3).collect::<Vec<_>>(), "{len}");
        }
    }

    /// The definition, in f64.
    fn by_definition(options: &AdamW, decays: &[bool], state: &mut [Vec<f64>; 4]) {
        let [params, grads, m, v] = state;
        let correction = |beta: f64| if options.bias_correction { 1.0 - beta.powi(options.step as i32) } else { 1.0 };
        for i in 0..params.len() {
            let g = grads[i] * f64::from(options.gradient_scale);
            if decays[i / CHUNK] {
                params[i] -= options.learning_rate * options.weight_decay * params[i];
            }
            m[i] = options.beta1 * m[i] + (1.0 - options.beta1) * g;
            v[i] = options.beta2 * v[i] + (1.0 - options.beta2) * g * g;
            let denominator = v[i].sqrt() / correction(options.beta2).sqrt() + options.epsilon;
            params[i] -= options.learning_rate / correction(options.beta1) * m[i] / denominator;
        }
    }

    #[test]
    fn five_steps_follow_the_definition() {
        for (len, bias_correction) in SIZES.into_iter().flat_map(|len| [(len, true), (len, false)]) {
            let given = AdamW { bias_correction, ..OPTIONS };
            let decays: Vec<bool> = (0..len.div_ceil(CHUNK)).map(|c| c % 3 != 1).collect();
            let start = random(1, len);
            let gradient = |step: u32| random(1 + step, len);
            let flat = same_bits(|threads| {
                let (mut params, mut m, mut v) = (start.clone(), vec![0.0; len], vec![0.0; len]);
                for step in 1..=5 {
                    let mut grads = gradient(step);
                    let options = AdamW { step: u64::from(step), ..given };
                    adamw(threads, &options, &decays, &mut params, &mut grads, &mut m, &mut v);
                    assert!(grads.iter().all(|g| *g == 0.0), "gradients are left zero");
                }
                [params, m, v].concat()
            });
            let mut state = [wide(&start), vec![], vec![0.0; len], vec![0.0; len]];
            for step in 1..=5 {
                state[1] = wide(&gradient(step));
                by_definition(&AdamW { step: u64::from(step), ..given }, &decays, &mut state);
            }
            let [params, _, m, v] = state;
            // About 8 roundings a step, 5 steps, of numbers below 5.
            let bound = 5.0 * 8.0 * 6e-8 * 5.0;
            close_each("params, m, v", &flat, &[params, m, v].concat(), |_| bound);
        }
    }

    #[test]
    fn a_first_step_moves_every_parameter_by_the_learning_rate() {
        let threads = Threads::new(1).unwrap();
        let options = AdamW { weight_decay: 0.0, ..OPTIONS };
        let (mut params, mut grads, mut m, mut v) = ([1.0, 1.0], [3.0, -2e-3], [0.0; 2], [0.0; 2]);
        adamw(&threads, &options, &[true], &mut params, &mut grads, &mut m, &mut v);
        close_each("params", &params, &[0.99, 1.01], |_| 2e-7);
    }
}
