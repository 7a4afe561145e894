//! Random small models for the tests of the tape, the memory plan and the devices.

use crate::batch::Batch;
use crate::gradient_check::{CLASSES, ENTRIES, batch};
use crate::layout::{Layout, Param};
use crate::ops::{Op, Qkv};
use crate::program::Program;
use crate::site::{DropoutSite, Site};
use crate::tape::Tape;
use crate::value::{Rows, Value};
use proptest::prelude::*;
use stepstone_kernels::optimizer::AdamW;
use stepstone_kernels::philox::normal;

/// One AdamW step at PyTorch's defaults.
pub(crate) const ADAMW: AdamW = AdamW {
    learning_rate: 1e-3,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    weight_decay: 0.01,
    step: 1,
    bias_correction: true,
    gradient_scale: 1.0,
};

/// One layer of a sketch: it maps rows of the current width to rows of the same width or of a new one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Step {
    /// Linear layer to this width.
    Linear(usize),
    /// Linear layer to this width, with GELU.
    Gelu(usize),
    /// Linear layer, dropout, residual sum and layer norm.
    Norm,
    /// Self-attention with its own projection.
    Attention,
    /// Linear layer and dropout.
    Dropout,
    /// Linear layer and tanh.
    Tanh,
}

/// A model: embedding, steps, and a classifier on each sequence's first token.
#[derive(Debug, Clone)]
pub(crate) struct Sketch {
    pub(crate) width: usize,
    pub(crate) steps: Vec<Step>,
    /// Whether a self-attention whose only query is the first token comes before the classifier.
    pub(crate) first_token_attention: bool,
    /// Lengths of the sequences of the batch.
    pub(crate) lengths: Vec<usize>,
}

/// A recorded sketch.
pub(crate) struct Model {
    pub(crate) program: Program,
    pub(crate) layout: Layout,
    pub(crate) logits: Value,
}

/// Sketches of up to seven steps and four sequences.
pub(crate) fn sketches() -> impl Strategy<Value = Sketch> {
    let step = prop_oneof![
        (4usize..10).prop_map(Step::Linear),
        (4usize..10).prop_map(Step::Gelu),
        Just(Step::Norm),
        Just(Step::Attention),
        Just(Step::Dropout),
        Just(Step::Tanh),
    ];
    let parts = (4usize..10, prop::collection::vec(step, 0..8), any::<bool>(), prop::collection::vec(1usize..9, 1..5));
    parts.prop_map(|(width, steps, first_token_attention, lengths)| Sketch {
        width,
        steps,
        first_token_attention,
        lengths,
    })
}

impl Sketch {
    /// A chain of linear layers of one width.
    pub(crate) fn chain(layers: usize) -> Self {
        Self { width: 16, steps: vec![Step::Linear(16); layers], first_token_attention: false, lengths: vec![8] }
    }

    pub(crate) fn batch(&self) -> Batch {
        batch(&self.lengths)
    }

    /// Forward and backward, with dropout of the given probability.
    pub(crate) fn training(&self, dropout: f32) -> Model {
        let (mut tape, mut layout) = (Tape::for_training(), Layout::default());
        let logits = self.record(&mut tape, &mut layout, dropout);
        let losses = tape.cross_entropy(logits);
        Model { program: tape.finish_with_backward(losses, &[logits]), layout, logits }
    }

    pub(crate) fn inference(&self) -> Model {
        let (mut tape, mut layout) = (Tape::for_inference(), Layout::default());
        let logits = self.record(&mut tape, &mut layout, 0.5); // a tape for inference drops dropout
        Model { program: tape.finish(&[logits]), layout, logits }
    }

    fn record(&self, tape: &mut Tape, layout: &mut Layout, probability: f32) -> Value {
        let [word, position, token_type] = [0; 3].map(|_| matrix(layout, ENTRIES, self.width));
        let (mut x, mut width) = (tape.embedding(word, position, token_type, None), self.width);
        for (number, step) in self.steps.iter().enumerate() {
            // Each step has a layer number of its own, so no two dropouts share a mask.
            let dropout = DropoutSite { probability, site: Site::new(number, 0) };
            // Heads must divide the width, which may be odd.
            let heads = if width.is_multiple_of(2) { 2 } else { 1 };
            x = match *step {
                Step::Linear(to) => linear(tape, layout, x, std::mem::replace(&mut width, to), to),
                Step::Gelu(to) => {
                    let (weight, bias) = (matrix(layout, to, width), vector(layout, to));
                    width = to;
                    tape.linear_gelu(x, weight, bias)
                }
                // Layer norm refuses its own input as the residual, so a linear layer comes first.
                Step::Norm => {
                    let inner = linear(tape, layout, x, width, width);
                    let norm = (vector(layout, width), vector(layout, width));
                    tape.layer_norm(inner, Some(x), Some(dropout), norm, 1e-5)
                }
                // Attention overwrites the gradient of its projection, so no other op may read that value.
                Step::Attention => {
                    let qkv = linear(tape, layout, x, width, 3 * width);
                    tape.attention(Qkv::All(qkv), heads, Some(dropout))
                }
                // Dropout and tanh must be the only readers of their input, so each gets a linear layer of its own.
                Step::Dropout => {
                    let inner = linear(tape, layout, x, width, width);
                    tape.dropout(inner, dropout)
                }
                Step::Tanh => {
                    let inner = linear(tape, layout, x, width, width);
                    tape.tanh(inner)
                }
            };
        }
        let mut first = tape.first_token(x);
        if self.first_token_attention {
            let kv = linear(tape, layout, x, width, 2 * width);
            let q = linear(tape, layout, first, width, width);
            first = tape.attention(Qkv::FirstToken { q, kv }, 1, None);
        }
        linear(tape, layout, first, width, CLASSES)
    }
}

impl Model {
    /// Random parameters of moderate size, always the same ones.
    pub(crate) fn parameters(&self) -> Vec<f32> {
        (0..self.layout.len as u64).map(|i| 0.4 * normal(11, 3, i) as f32).collect()
    }

    /// The ops of the forward list, which ends with the only cross-entropy, and those of the backward list.
    pub(crate) fn lists(&self) -> (&[Op], &[Op]) {
        let is_loss = |op: &Op| matches!(op, Op::CrossEntropy(_));
        let forward = self.program.ops.iter().position(is_loss).map_or(self.program.ops.len(), |last| last + 1);
        self.program.ops.split_at(forward)
    }
}

fn linear(tape: &mut Tape, layout: &mut Layout, x: Value, from: usize, to: usize) -> Value {
    let (weight, bias) = (matrix(layout, to, from), vector(layout, to));
    tape.linear(x, weight, bias)
}

pub(crate) fn matrix(layout: &mut Layout, rows: usize, columns: usize) -> Param {
    layout.matrix(&[String::new()], rows, columns)
}

pub(crate) fn vector(layout: &mut Layout, len: usize) -> Param {
    layout.vector(&[String::new()], len)
}

/// A tape with one value `[tokens, columns]` that no op has written.
pub(crate) fn tape_with_input(columns: usize) -> (Tape, Value) {
    let mut tape = Tape::for_training();
    let input = tape.value(Rows::Tokens, columns);
    (tape, input)
}
