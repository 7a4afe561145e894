//! Gradient norm and AdamW, each one pass over the parameter arena.

use crate::simd::vectorize;
use crate::threads::Threads;

/// Elements of one block of the norm and of the update.
const BLOCK: usize = 16_384;
/// Elements that share one weight-decay flag.
pub const CHUNK: usize = 1024;

/// Global L2 norm: f64 sums over fixed blocks, added in order. Not finite if an element is not.
pub fn gradient_norm(threads: &Threads, gradients: &[f32]) -> f64 {
    let squares = threads.map(gradients.chunks(BLOCK * 8).collect(), |blocks: &[f32]| {
        blocks.chunks(BLOCK).map(square_sum).collect::<Vec<f64>>()
    });
    squares.into_iter().flatten().sum::<f64>().sqrt()
}

fn square_sum(block: &[f32]) -> f64 {
    vectorize(
        #[inline(always)]
        || {
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
                #[inline(always)]
                || factors.apply(if *decay { factors.decay } else { 1.0 }, p, g, m, v),
            );
        }
    });
}

/// What the inner loop multiplies with; made in f64, where 1 - beta does not cancel.
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
    /// learning_rate / (1 - beta1^step).
    step_size: f32,
    /// 1 / sqrt(1 - beta2^step).
    inverse_root: f32,
    epsilon: f32,
}

impl Factors {
    fn new(a: &AdamW) -> Factors {
        let correction = |beta: f64| 1.0 - beta.powf(a.step as f64);
        Factors {
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
            let denominator = v.sqrt().mul_add(self.inverse_root, self.epsilon);
            *p = p.mul_add(decay, -self.step_size * (*m / denominator));
            *g = 0.0;
        }
    }
}
