//! Recording a forward pass, and deriving the backward list from it.

use crate::ops::{self, Qkv};
use crate::{Op, Param, Program, Rows, Value, ValueInfo};

/// Where a dropout acts; its number is part of the counter that makes the mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Site(pub u32);

/// The kinds of dropout in an encoder layer or outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum SiteKind {
    Embedding = 0,
    AttentionProbabilities = 1,
    AttentionOutput = 2,
    FeedForwardOutput = 3,
    HeadInput = 4,
    HeadHidden = 5,
}

impl Site {
    /// layer x 1,024 + kind x 64; attention adds the head.
    pub fn new(layer: usize, kind: SiteKind) -> Self {
        Self(layer as u32 * 1024 + kind as u32 * 64)
    }
}

/// A dropout with its place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DropoutSite {
    /// Probability of dropping, 0..1.
    pub probability: f32,
    /// The place.
    pub site: Site,
}

/// Records op after op; every method returns the op's output.
///
/// A training tape keeps what the backward pass needs and applies dropout; an inference tape does neither.
#[derive(Debug)]
pub struct Tape {
    training: bool,
    ops: Vec<Op>,
    values: Vec<ValueInfo>,
}

impl Tape {
    /// A tape whose program can be run backward.
    pub fn for_training() -> Self {
        Self { training: true, ops: Vec::new(), values: Vec::new() }
    }

    /// A tape that keeps no activations and ignores dropout.
    pub fn for_inference() -> Self {
        Self { training: false, ops: Vec::new(), values: Vec::new() }
    }

    /// Sum of word, position and segment rows, `[tokens, hidden]`. `padding_index`: a word row without gradient.
    pub fn embedding(&mut self, word: Param, position: Param, token_type: Param, padding_index: Option<u32>) -> Value {
        let out = self.value(Rows::Tokens, word.columns);
        self.ops.push(Op::Embedding(ops::Embedding { word, position, token_type, padding_index, out }));
        out
    }

    /// Layer norm of `x`, or of `residual + dropout(x)`; the dropout acts on `x` alone.
    ///
    /// # Panics
    /// If a width or the residual's shape does not fit.
    pub fn layer_norm(
        &mut self,
        x: Value,
        residual: Option<Value>,
        dropout: Option<DropoutSite>,
        (gain, bias): (Param, Param),
        epsilon: f64,
    ) -> Value {
        let info = self.info(x);
        assert_eq!((gain.len(), bias.len()), (info.columns, info.columns), "layer norm: width of gain or bias");
        assert!(residual.is_none_or(|r| r != x && self.info(r) == info), "layer norm: residual of another shape");
        let out = self.value(info.rows, info.columns);
        let saved = self.training.then(|| ops::NormSaved {
            normalized: self.value(info.rows, info.columns),
            rstd: self.value(info.rows, 1),
        });
        let dropout = self.active(dropout);
        self.ops.push(Op::LayerNorm(ops::LayerNorm { x, residual, dropout, gain, bias, epsilon, out, saved }));
        out
    }

    /// `x weight^T + bias`.
    pub fn linear(&mut self, x: Value, weight: Param, bias: Param) -> Value {
        self.push_linear(x, weight, bias, ops::Activation::None)
    }

    /// `gelu(x weight^T + bias)`, the erf form.
    pub fn linear_gelu(&mut self, x: Value, weight: Param, bias: Param) -> Value {
        let rows = self.info(x).rows;
        let derivative = self.training.then(|| self.value(rows, weight.rows));
        self.push_linear(x, weight, bias, ops::Activation::Gelu { derivative })
    }

    /// Self-attention inside each sequence, `[query rows, hidden]`; queries are all tokens or the first ones.
    ///
    /// # Panics
    /// If the widths do not fit the heads.
    pub fn attention(&mut self, qkv: Qkv, heads: usize, dropout: Option<DropoutSite>) -> Value {
        let (rows, hidden) = match qkv {
            Qkv::All(qkv) => (Rows::Tokens, self.info(qkv).columns / 3),
            Qkv::FirstToken { q, kv } => {
                assert_eq!(self.info(kv).columns, 2 * self.info(q).columns, "attention: widths of q and kv");
                (Rows::Sequences, self.info(q).columns)
            }
        };
        assert_eq!(hidden % heads, 0, "attention: {heads} heads do not divide {hidden}");
        let out = self.value(rows, hidden);
        let lse = self.training.then(|| self.value(rows, heads));
        let dropout = self.active(dropout);
        self.ops.push(Op::Attention(ops::Attention { qkv, heads, head_dim: hidden / heads, dropout, out, lse }));
        out
    }

    /// Dropout alone; `x` itself on an inference tape or for probability 0.
    pub fn dropout(&mut self, x: Value, dropout: DropoutSite) -> Value {
        let Some(dropout) = self.active(Some(dropout)) else { return x };
        let info = self.info(x);
        let out = self.value(info.rows, info.columns);
        self.ops.push(Op::Dropout(ops::Dropout { x, dropout, out }));
        out
    }

    /// The first row of each sequence, `[sequences, columns]`.
    ///
    /// # Panics
    /// If `x` has not one row per token.
    pub fn first_token(&mut self, x: Value) -> Value {
        let info = self.info(x);
        assert_eq!(info.rows, Rows::Tokens, "first_token: needs one row per token");
        let out = self.value(Rows::Sequences, info.columns);
        self.ops.push(Op::FirstToken(ops::FirstToken { x, out }));
        out
    }

    /// One score per sequence as one row per example, `[examples, choices]`: an example's sequences lie side by side.
    ///
    /// # Panics
    /// If `scores` is not one number per sequence, or there are no choices.
    pub fn choices(&mut self, scores: Value, choices: usize) -> Value {
        assert_eq!(self.info(scores), ValueInfo { rows: Rows::Sequences, columns: 1 }, "choices: one score each");
        assert!(choices > 0, "choices: none");
        let out = self.value(Rows::Examples { choices }, choices);
        self.ops.push(Op::Choices(ops::Choices { x: scores, out }));
        out
    }

    /// Element-wise hyperbolic tangent.
    pub fn tanh(&mut self, x: Value) -> Value {
        let info = self.info(x);
        let out = self.value(info.rows, info.columns);
        self.ops.push(Op::Tanh(ops::Tanh { x, out }));
        out
    }

    /// Softmax cross-entropy of each row against the batch's labels: losses `[examples, 1]`, in nats.
    ///
    /// # Panics
    /// If `logits` has rows of tokens.
    pub fn cross_entropy(&mut self, logits: Value) -> Value {
        let info = self.info(logits);
        assert_ne!(info.rows, Rows::Tokens, "cross_entropy: one row of logits per label");
        let probabilities = self.value(info.rows, info.columns);
        let losses = self.value(info.rows, 1);
        self.ops.push(Op::CrossEntropy(ops::CrossEntropy { logits, probabilities, losses }));
        losses
    }

    /// Ends an inference tape; `outputs` can be read after a run.
    pub fn finish(self, outputs: &[Value]) -> Program {
        Program { ops: self.ops, values: self.values, outputs: outputs.to_vec() }
    }

    /// Ends a training tape: appends the backward list of the mean of `losses`, the output of
    /// [`Tape::cross_entropy`]. Each op's rule stands in its file under `ops/`.
    ///
    /// # Panics
    /// If this is an inference tape.
    pub fn finish_with_backward(self, losses: Value, outputs: &[Value]) -> Program {
        assert!(self.training, "an inference tape has no backward list");
        let backward = Backward::new(self.values, losses).derive(&self.ops);
        let ops = self.ops.into_iter().chain(backward.ops).collect();
        let outputs = outputs.iter().copied().chain([losses]).collect();
        Program { ops, values: backward.values, outputs }
    }

    /// Ends a tape for a gradient check: the forward list alone, both lists, and the gradient of every value that has
    /// one. Unless `out` is the losses, the backward list starts from its gradient, which whoever runs the program sets.
    /// All values are outputs.
    #[cfg(test)]
    pub(crate) fn finish_from(self, out: Value, is_loss: bool) -> ([Program; 2], Vec<Option<Value>>) {
        let mut backward = Backward::new(self.values, out);
        if !is_loss {
            backward.target(out);
        }
        let backward = backward.derive(&self.ops);
        let outputs: Vec<Value> = (0..backward.values.len() as u32).map(Value).collect();
        let forward = Program { ops: self.ops, values: backward.values, outputs };
        let ops = forward.ops.iter().cloned().chain(backward.ops).collect();
        let both = Program { ops, ..forward.clone() };
        ([forward, both], backward.gradients)
    }

    fn push_linear(&mut self, x: Value, weight: Param, bias: Param, activation: ops::Activation) -> Value {
        let info = self.info(x);
        assert_eq!(info.columns, weight.columns, "linear: input width and weight");
        assert_eq!(bias.len(), weight.rows, "linear: bias and weight");
        let out = self.value(info.rows, weight.rows);
        self.ops.push(Op::Linear(ops::Linear { x, weight, bias, activation, out }));
        out
    }

    fn active(&self, dropout: Option<DropoutSite>) -> Option<DropoutSite> {
        dropout.filter(|d| self.training && d.probability > 0.0)
    }

    fn info(&self, value: Value) -> ValueInfo {
        self.values[value.0 as usize]
    }

    pub(crate) fn value(&mut self, rows: Rows, columns: usize) -> Value {
        push_value(&mut self.values, ValueInfo { rows, columns })
    }
}

fn push_value(values: &mut Vec<ValueInfo>, info: ValueInfo) -> Value {
    values.push(info);
    Value(values.len() as u32 - 1)
}

/// Whether a gradient is the first that reaches its value, or one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// The output is written whatever it held.
    Overwrite,
    /// The output is added to.
    Accumulate,
}

/// The backward list in the making: which value has which gradient.
#[derive(Debug)]
pub(crate) struct Backward {
    gradients: Vec<Option<Value>>, // of the values of the forward list
    values: Vec<ValueInfo>,
    losses: Value,
    ops: Vec<Op>,
}

impl Backward {
    fn new(values: Vec<ValueInfo>, losses: Value) -> Self {
        Self { gradients: vec![None; values.len()], values, losses, ops: Vec::new() }
    }

    /// The rules of a forward list, last op first.
    fn derive(mut self, forward: &[Op]) -> Self {
        forward.iter().rev().for_each(|op| self.push_rule(op));
        self
    }

    fn push_rule(&mut self, op: &Op) {
        let rule = match op {
            Op::Embedding(op) => op.backward(self),
            Op::LayerNorm(op) => op.backward(self),
            Op::Linear(op) => op.backward(self),
            Op::Attention(op) => op.backward(self),
            Op::Dropout(op) => op.backward(self),
            Op::FirstToken(op) => op.backward(self),
            Op::Choices(op) => op.backward(self),
            Op::Tanh(op) => op.backward(self),
            Op::CrossEntropy(op) => op.backward(self),
            Op::EmbeddingBackward(_)
            | Op::LayerNormBackward(_)
            | Op::LinearBackward(_)
            | Op::AttentionBackward(_)
            | Op::FirstTokenBackward(_)
            | Op::ChoicesBackward(_)
            | Op::TanhBackward(_)
            | Op::CrossEntropyBackward(_) => unreachable!("a tape records forward ops only"),
        };
        self.ops.extend(rule);
    }

    /// Whether the loss is `losses` itself.
    pub(crate) fn is_loss(&self, losses: Value) -> bool {
        self.losses == losses
    }

    /// The finished gradient of `value`; None if the loss does not depend on it.
    pub(crate) fn gradient(&self, value: Value) -> Option<Value> {
        self.gradients[value.0 as usize]
    }

    /// The gradient of `value` as an output of a backward op.
    pub(crate) fn target(&mut self, value: Value) -> (Value, Write) {
        if let Some(gradient) = self.gradients[value.0 as usize] {
            return (gradient, Write::Accumulate);
        }
        let info = self.values[value.0 as usize];
        let gradient = push_value(&mut self.values, info);
        self.gradients[value.0 as usize] = Some(gradient);
        (gradient, Write::Overwrite)
    }

    /// As [`Backward::target`], for ops that can only overwrite.
    pub(crate) fn sole_target(&mut self, value: Value) -> Value {
        let (gradient, write) = self.target(value);
        assert_eq!(write, Write::Overwrite, "this op must be the only reader of its input");
        gradient
    }
}
