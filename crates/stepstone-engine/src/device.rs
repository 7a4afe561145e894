//! What a device does: it holds the arenas and runs programs.

use crate::{AdamW, Batch, Program, Value};
use std::ops::Range;

/// The parameter-shaped arenas; the same offset names the same parameter in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arena {
    /// Master weights.
    Parameters,
    /// Gradients of the step in progress; zero between steps.
    Gradients,
    /// AdamW's running mean of gradients.
    FirstMoment,
    /// AdamW's running mean of squared gradients.
    SecondMoment,
}

/// What changes from run to run of one program.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scalars {
    /// The seed of the whole fine-tuning; with `step` and a site it fixes every dropout mask.
    pub seed: u64,
    /// The optimizer step, counted from 0.
    pub step: u32,
    /// Factor of every row's loss in the gradient: 1 / examples of the step, over all micro-batches.
    pub loss_scale: f64,
}

/// One optimizer step over the whole arena.
#[derive(Debug, Clone, Copy)]
pub struct Update<'a> {
    /// AdamW with this step's learning rate; its `gradient_scale` is multiplied by the clip factor.
    pub adamw: AdamW,
    /// Gradients of a larger global L2 norm are scaled down to it; 0 means no clipping. As
    /// `torch.nn.utils.clip_grad_norm_`: factor min(1, max / (norm + 1e-6)).
    pub max_gradient_norm: f32,
    /// After that, gradients of a tensor of a larger L2 norm are scaled down to it, likewise; 0 means no clipping.
    pub max_tensor_norm: f32,
    /// The elements of each tensor; see [`crate::Layout::part_ranges`].
    pub tensors: &'a [Range<usize>],
    /// Whether weight decay acts, per [`crate::CHUNK`]; see [`crate::Layout::decays`].
    pub decays: &'a [bool],
}

/// A machine that runs programs. Devices own the element width; offsets and lengths count elements.
///
/// Nothing is read back inside a step: `run` and `update` only enqueue; `read`, `store` and `gradient_norm` wait.
pub trait Device {
    /// Copies `data` into an arena from element `offset` on.
    fn load(&mut self, arena: Arena, offset: usize, data: &[f32]);

    /// Copies from an arena into `out`; waits for what was enqueued.
    fn store(&self, arena: Arena, offset: usize, out: &mut [f32]);

    /// Runs every op of `program` in order. Gradients of parameters are added to those already there.
    ///
    /// # Panics
    /// If an id, position, segment or label of the batch lies outside its table: the caller checks those.
    fn run(&mut self, program: &Program, batch: &Batch, scalars: Scalars);

    /// An output value of the last run, row-major; waits for what was enqueued.
    ///
    /// # Panics
    /// If `value` is not an output of the last program.
    fn read(&self, value: Value) -> Vec<f64>;

    /// Clips, applies AdamW and leaves the gradients zero. A gradient norm that is not finite leaves everything as it is.
    fn update(&mut self, update: &Update<'_>);

    /// The global L2 norm of the gradients that the last `update` found, before clipping; waits for it.
    fn gradient_norm(&self) -> f64;

    /// Bytes of the largest activation arena so far.
    fn activation_bytes(&self) -> usize;
}

/// The factor that clipping puts on gradients.
pub(crate) fn clip_factor(max_gradient_norm: f32, norm: f64) -> f64 {
    if max_gradient_norm == 0.0 { 1.0 } else { (f64::from(max_gradient_norm) / (norm + 1e-6)).min(1.0) }
}
