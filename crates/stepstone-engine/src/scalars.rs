//! Numbers that change from one run of a program to the next.

use crate::site::DropoutSite;
use stepstone_kernels::philox::Dropout;

/// The inputs of one run, besides the batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scalars {
    /// The seed of the fine-tuning run; together with `step` and a site it determines every dropout mask.
    pub seed: u64,
    /// The optimizer step, counted from 0.
    pub step: u32,
    /// Factor of every row's loss in the gradient: 1 / examples of the step, over all micro-batches.
    pub loss_scale: f64,
}

impl Scalars {
    /// The masks of one site in this step; None if nothing is dropped there.
    pub(crate) fn dropout(self, dropout: DropoutSite) -> Option<Dropout> {
        Dropout::new(dropout.probability, self.seed, self.step, dropout.site.0)
    }
}
