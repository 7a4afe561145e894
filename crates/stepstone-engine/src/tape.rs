//! Recording a forward pass, and deriving the backward list from it.

use crate::gradients::{Gradients, push_value};
use crate::layout::Param;
use crate::ops::{self, Op, Qkv};
use crate::program::Program;
use crate::site::DropoutSite;
use crate::value::{Rows, Value, ValueInfo};

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

    /// Sum of word, position and segment rows, `[tokens, hidden]`. `padding_index` is a word row that gets no gradient.
    pub fn embedding(&mut self, word: Param, position: Param, token_type: Param, padding_index: Option<u32>) -> Value {
        let out = self.value(Rows::Tokens, word.columns);
        self.record(ops::Embedding { word, position, token_type, padding_index, out });
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
        // `r != x`, because the backward op writes the gradients of both at once and needs two places.
        assert!(residual.is_none_or(|r| r != x && self.info(r) == info), "layer norm: residual of another shape");
        let out = self.value(info.rows, info.columns);
        // The normalized rows are kept instead of x and the residual: the backward rule needs only them and `rstd`.
        let saved = self.training.then(|| ops::NormSaved {
            normalized: self.value(info.rows, info.columns),
            rstd: self.value(info.rows, 1),
        });
        let dropout = self.active(dropout);
        self.record(ops::LayerNorm { x, residual, dropout, gain, bias, epsilon, out, saved });
        out
    }

    /// `x weight^T + bias`.
    pub fn linear(&mut self, x: Value, weight: Param, bias: Param) -> Value {
        self.push_linear(x, weight, bias, ops::Activation::None)
    }

    /// `gelu(x weight^T + bias)`, the erf form.
    pub fn linear_gelu(&mut self, x: Value, weight: Param, bias: Param) -> Value {
        let rows = self.info(x).rows;
        // The derivative is kept instead of z: it needs the same memory and saves an exponential in the backward pass.
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
        // One number per query and head, from which the backward pass recomputes the probabilities.
        let lse = self.training.then(|| self.value(rows, heads));
        let dropout = self.active(dropout);
        self.record(ops::Attention { qkv, heads, head_dim: hidden / heads, dropout, out, lse });
        out
    }

    /// Dropout alone; `x` itself on an inference tape or for probability 0.
    pub fn dropout(&mut self, x: Value, dropout: DropoutSite) -> Value {
        // No copying op is recorded, so an inference program contains no dropout at all.
        let Some(dropout) = self.active(Some(dropout)) else { return x };
        let info = self.info(x);
        let out = self.value(info.rows, info.columns);
        self.record(ops::Dropout { x, dropout, out });
        out
    }

    /// The first row of each sequence, `[sequences, columns]`.
    ///
    /// # Panics
    /// If `x` does not have one row per token.
    pub fn first_token(&mut self, x: Value) -> Value {
        let info = self.info(x);
        assert_eq!(info.rows, Rows::Tokens, "first_token: needs one row per token");
        let out = self.value(Rows::Sequences, info.columns);
        self.record(ops::FirstToken { x, out });
        out
    }

    /// One score per sequence as one row per example, `[examples, choices]`: an example's sequences are adjacent.
    ///
    /// # Panics
    /// If `scores` is not one number per sequence, or there are no choices.
    pub fn choices(&mut self, scores: Value, choices: usize) -> Value {
        assert_eq!(self.info(scores), ValueInfo { rows: Rows::Sequences, columns: 1 }, "choices: one score each");
        assert!(choices > 0, "choices: none");
        let out = self.value(Rows::Examples { choices }, choices);
        self.record(ops::Choices { x: scores, out });
        out
    }

    /// Element-wise hyperbolic tangent.
    pub fn tanh(&mut self, x: Value) -> Value {
        let info = self.info(x);
        let out = self.value(info.rows, info.columns);
        self.record(ops::Tanh { x, out });
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
        self.record(ops::CrossEntropy { logits, probabilities, losses });
        losses
    }

    /// Ends an inference tape; `outputs` can be read after a run.
    pub fn finish(self, outputs: &[Value]) -> Program {
        Program { ops: self.ops, values: self.values, outputs: outputs.to_vec() }
    }

    /// Ends a training tape: appends the backward list of the mean of `losses`, the output of [`Tape::cross_entropy`].
    /// Each op's rule is in its file under `ops/`.
    ///
    /// # Panics
    /// If this is an inference tape.
    pub fn finish_with_backward(self, losses: Value, outputs: &[Value]) -> Program {
        assert!(self.training, "an inference tape has no backward list");
        let mut gradients = Gradients::new(self.values, losses);
        let backward = backward_list(&self.ops, &mut gradients);
        let ops = self.ops.into_iter().chain(backward).collect();
        // The host reads the losses after every step.
        let outputs = outputs.iter().copied().chain([losses]).collect();
        Program { ops, values: gradients.into_parts().1, outputs }
    }

    /// Ends a tape for a gradient check: the forward list alone, both lists, and the gradient of every value that has
    /// one. Unless `out` is the losses, the backward list starts from its gradient, which the caller sets before a run.
    /// All values are outputs.
    #[cfg(test)]
    pub(crate) fn finish_from(self, out: Value, is_loss: bool) -> ([Program; 2], Vec<Option<Value>>) {
        let mut gradients = Gradients::new(self.values, out);
        if !is_loss {
            // No op writes the gradient of `out`, so it is created here.
            gradients.target(out);
        }
        let backward = backward_list(&self.ops, &mut gradients);
        let (gradients, values) = gradients.into_parts();
        // Outputs keep their memory to the end, so a check can read every gradient.
        let outputs: Vec<Value> = (0..values.len() as u32).map(Value).collect();
        let forward = Program { ops: self.ops, values, outputs };
        let ops = forward.ops.iter().cloned().chain(backward).collect();
        let both = Program { ops, ..forward.clone() };
        ([forward, both], gradients)
    }

    fn record(&mut self, op: impl Into<Op>) {
        self.ops.push(op.into());
    }

    fn push_linear(&mut self, x: Value, weight: Param, bias: Param, activation: ops::Activation) -> Value {
        let info = self.info(x);
        assert_eq!(info.columns, weight.columns, "linear: input width and weight");
        assert_eq!(bias.len(), weight.rows, "linear: bias and weight");
        let out = self.value(info.rows, weight.rows);
        self.record(ops::Linear { x, weight, bias, activation, out });
        out
    }

    fn active(&self, dropout: Option<DropoutSite>) -> Option<DropoutSite> {
        dropout.filter(|d| self.training && d.probability > 0.0)
    }

    fn info(&self, value: Value) -> ValueInfo {
        self.values[value.index()]
    }

    pub(crate) fn value(&mut self, rows: Rows, columns: usize) -> Value {
        push_value(&mut self.values, ValueInfo { rows, columns })
    }
}

/// The rules of a forward list, last op first: a gradient is finished before the op that made its value asks for it.
fn backward_list(forward: &[Op], gradients: &mut Gradients) -> Vec<Op> {
    forward.iter().rev().filter_map(|op| op.backward(gradients)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::Site;
    use crate::testing::{matrix, sketches, tape_with_input, vector};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// The message of the panic; the test fails if there was none.
    fn refusal(record: impl FnOnce() + std::panic::UnwindSafe) -> String {
        let panic = std::panic::catch_unwind(record).expect_err("nothing was refused");
        panic.downcast_ref::<String>().cloned().unwrap_or_else(|| (*panic.downcast_ref::<&str>().unwrap()).to_owned())
    }

    /// Records one op on a value `[tokens, 6]`.
    fn record_on(op: impl FnOnce(&mut Tape, Value, &mut crate::layout::Layout)) {
        let (mut tape, x) = tape_with_input(6);
        op(&mut tape, x, &mut crate::layout::Layout::default());
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused_when_they_are_recorded() {
        type Record = fn(&mut Tape, Value, &mut crate::layout::Layout);
        let table: [(&str, Record); 10] = [
            ("linear: input width", |t, x, l| {
                t.linear(x, matrix(l, 4, 5), vector(l, 4));
            }),
            ("linear: bias", |t, x, l| {
                t.linear(x, matrix(l, 4, 6), vector(l, 5));
            }),
            ("width of gain or bias", |t, x, l| {
                t.layer_norm(x, None, None, (vector(l, 5), vector(l, 6)), 1e-5);
            }),
            ("residual of another shape", |t, x, l| {
                let residual = Some(t.first_token(x));
                t.layer_norm(x, residual, None, (vector(l, 6), vector(l, 6)), 1e-5);
            }),
            ("residual of another shape", |t, x, l| {
                t.layer_norm(x, Some(x), None, (vector(l, 6), vector(l, 6)), 1e-5);
            }),
            ("heads do not divide", |t, x, _| {
                t.attention(Qkv::All(x), 4, None);
            }),
            ("widths of q and kv", |t, x, _| {
                t.attention(Qkv::FirstToken { q: x, kv: x }, 1, None);
            }),
            ("one row per token", |t, x, _| {
                let first = t.first_token(x);
                t.first_token(first);
            }),
            ("one score each", |t, x, _| {
                t.choices(x, 2);
            }),
            ("one row of logits per label", |t, x, _| {
                t.cross_entropy(x);
            }),
        ];
        for (want, record) in table {
            let found = refusal(|| record_on(record));
            assert!(found.contains(want), "expected `{want}`, found `{found}`");
        }
    }

    #[test]
    fn an_inference_tape_has_no_backward_list() {
        let found = refusal(|| {
            let mut tape = Tape::for_inference();
            let losses = tape.value(Rows::Sequences, 1);
            tape.finish_with_backward(losses, &[]);
        });
        assert!(found.contains("no backward list"), "{found}");
    }

    #[test]
    fn dropout_is_recorded_only_where_something_is_dropped() {
        let site = |probability| DropoutSite { probability, site: Site::new(0, 0) };
        let (mut training, x) = tape_with_input(6);
        assert_eq!(training.dropout(x, site(0.0)), x);
        assert_ne!(training.dropout(x, site(0.1)), x);
        let mut inference = Tape::for_inference();
        let x = inference.value(Rows::Tokens, 6);
        assert_eq!(inference.dropout(x, site(0.1)), x);
    }

    proptest! {
        /// An op that writes a value again must also read it, or the earlier contents would be lost.
        #[test]
        fn values_are_written_before_they_are_read_and_added_to_when_written_again(sketch in sketches()) {
            for model in [sketch.training(0.1), sketch.inference()] {
                let mut written = BTreeSet::new();
                for op in &model.program.ops {
                    let reads: BTreeSet<u32> = op.reads().iter().map(|value| value.0).collect();
                    prop_assert!(reads.is_subset(&written), "{op:?} reads what no op has written");
                    for value in op.writes() {
                        prop_assert!(written.insert(value.0) || reads.contains(&value.0), "{op:?} loses {value:?}");
                    }
                }
            }
        }

        #[test]
        fn every_forward_op_has_one_backward_op(sketch in sketches()) {
            let model = sketch.training(0.1);
            let (forward, backward) = model.lists();
            prop_assert_eq!(forward.len(), backward.len(), "the loss depends on every op of a sketch");
        }

        /// Every value that appears only in the backward list is a gradient.
        #[test]
        fn no_gradient_is_made_in_vain(sketch in sketches()) {
            let model = sketch.training(0.1);
            let (forward, backward) = model.lists();
            let named = |ops: &[Op]| ops.iter().flat_map(|op| [op.reads(), op.writes()].concat()).map(|v| v.0).collect();
            let (known, read): (BTreeSet<u32>, BTreeSet<u32>) =
                (named(forward), backward.iter().flat_map(Op::reads).map(|v| v.0).collect());
            for value in backward.iter().flat_map(Op::writes).filter(|value| !known.contains(&value.0)) {
                prop_assert!(read.contains(&value.0), "{value:?} is a gradient that nobody needs");
            }
        }

        #[test]
        fn inference_keeps_nothing_for_a_backward_pass(sketch in sketches()) {
            let model = sketch.inference();
            let read: BTreeSet<u32> = model.program.ops.iter().flat_map(Op::reads).map(|v| v.0).collect();
            for op in &model.program.ops {
                for value in op.writes() {
                    prop_assert!(read.contains(&value.0) || value == model.logits, "{op:?} saves {value:?}");
                }
            }
        }
    }
}
