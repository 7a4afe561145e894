//! A classifier: an encoder, a head, and the programs for training and inference.

use crate::config::EncoderConfig;
use crate::encoder::Encoder;
use crate::head::{Answers, Head, HeadKind};
use stepstone_engine::{Layout, Program, Tape, Value};

/// An encoder with a classification head, laid out in one parameter arena.
#[derive(Debug, Clone)]
pub struct Classifier {
    /// Position of each tensor in the arena.
    pub layout: Layout,
    /// The classes or choices it decides between.
    pub answers: Answers,
    encoder: Encoder,
    head: Head,
}

/// One forward and backward pass over a batch.
#[derive(Debug, Clone)]
pub struct TrainingPass {
    /// What a device runs.
    pub program: Program,
    /// `[examples, 1]`, nats.
    pub losses: Value,
    /// `[examples, answers]`, under dropout.
    pub logits: Value,
}

/// One forward pass over a batch, without dropout.
#[derive(Debug, Clone)]
pub struct InferencePass {
    /// What a device runs.
    pub program: Program,
    /// `[examples, answers]`
    pub logits: Value,
}

impl Classifier {
    /// Lays out the tensors of encoder and head.
    pub fn new(config: &EncoderConfig, head: HeadKind, answers: Answers) -> Self {
        let mut layout = Layout::default();
        // The encoder comes first, so its tensors have the same places under every head.
        let encoder = Encoder::declare(config, &mut layout);
        let head = Head::declare(head, config, answers, &mut layout);
        Self { layout, answers, encoder, head }
    }

    /// Records the forward and backward pass.
    pub fn training_pass(&self) -> TrainingPass {
        let mut tape = Tape::for_training();
        let logits = self.logits(&mut tape);
        let losses = tape.cross_entropy(logits);
        TrainingPass { program: tape.finish_with_backward(losses, &[logits]), losses, logits }
    }

    /// Records the forward pass only.
    pub fn inference_pass(&self) -> InferencePass {
        let mut tape = Tape::for_inference();
        let logits = self.logits(&mut tape);
        InferencePass { program: tape.finish(&[logits]), logits }
    }

    /// Records the last layer's output for every token, `[tokens, hidden]`.
    pub fn hidden_states_pass(&self) -> (Program, Value) {
        let mut tape = Tape::for_inference();
        let states = self.encoder.all_tokens(&mut tape);
        (tape.finish(&[states]), states)
    }

    fn logits(&self, tape: &mut Tape) -> Value {
        let first = self.encoder.first_token(tape);
        self.head.forward(tape, first)
    }
}
