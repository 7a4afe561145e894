//! The CPU device: f32 kernels over one activation arena, spread over a pool of threads.

use crate::device::clip_factor;
use crate::ops::{self, Activation, Qkv, Write};
use crate::phases::{Phase, Stopwatch, Times};
use crate::tape::DropoutSite;
use crate::{Arena, Batch, BatchShape, Device, Op, Param, Plan, Program, Scalars, Threads, Update, Value};
use std::ops::Range;
use stepstone_kernels::{
    attention, cross_entropy, dropout, embedding, gelu, gemm, layer_norm, optimizer, philox, rows, tanh,
};

/// Runs programs in f32 on this machine's cores.
#[derive(Debug)]
pub struct CpuDevice {
    threads: Threads,
    parameters: Vec<f32>,
    gradients: Vec<f32>,
    first_moment: Vec<f32>,
    second_moment: Vec<f32>,
    activations: Vec<f32>,
    /// Where gradients of matrices may lie since the last update. Elsewhere they are zero, and need not be added to.
    written: Vec<Range<usize>>,
    /// Of the last run: its plan, and the spans of its outputs.
    last: Option<(Plan, Vec<Value>)>,
    gradient_norm: f64,
    peak_activations: usize,
    stopwatch: Stopwatch,
}

impl CpuDevice {
    /// Arenas of `len` elements, all zero.
    pub fn new(len: usize, threads: Threads) -> Self {
        Self {
            threads,
            parameters: vec![0.0; len],
            gradients: vec![0.0; len],
            first_moment: vec![0.0; len],
            second_moment: vec![0.0; len],
            activations: Vec::new(),
            written: Vec::new(),
            last: None,
            gradient_norm: 0.0,
            peak_activations: 0,
            stopwatch: Stopwatch::new(),
        }
    }

    /// f32 lanes of the vectors in use, 1 without vectors.
    pub fn lanes(&self) -> usize {
        self.threads.instructions().lanes()
    }

    /// Where the time of all runs and updates went since the last call.
    pub fn take_times(&mut self) -> Times {
        std::mem::take(&mut self.stopwatch.times)
    }

    fn arena(&self, arena: Arena) -> &[f32] {
        match arena {
            Arena::Parameters => &self.parameters,
            Arena::Gradients => &self.gradients,
            Arena::FirstMoment => &self.first_moment,
            Arena::SecondMoment => &self.second_moment,
        }
    }

    fn arena_mut(&mut self, arena: Arena) -> &mut [f32] {
        match arena {
            Arena::Parameters => &mut self.parameters,
            Arena::Gradients => &mut self.gradients,
            Arena::FirstMoment => &mut self.first_moment,
            Arena::SecondMoment => &mut self.second_moment,
        }
    }

    /// As `run`, where some values are there before the first op; they must be outputs, as others share their memory.
    pub(crate) fn run_from(
        &mut self,
        inputs: &[(Value, Vec<f64>)],
        program: &Program,
        batch: &Batch,
        scalars: Scalars,
    ) {
        let shape = batch.shape();
        let plan = Plan::new(program, shape);
        if self.activations.len() < plan.len {
            self.activations.resize(plan.len, 0.0);
        }
        self.peak_activations = self.peak_activations.max(plan.len);
        for (value, data) in inputs {
            let span = &mut self.activations[plan.span(*value)];
            span.iter_mut().zip(data).for_each(|(to, from)| *to = *from as f32);
        }
        let mut run = Run {
            threads: &self.threads,
            parameters: &self.parameters,
            gradients: &mut self.gradients,
            activations: &mut self.activations,
            plan: &plan,
            program,
            batch,
            scalars,
            shape,
            written: &mut self.written,
            stopwatch: &mut self.stopwatch,
        };
        self.threads.within(|| {
            run.stopwatch.start(run.threads);
            for op in &program.ops {
                run.op(op);
                run.stopwatch.lap(run.threads, phase(op));
            }
        });
        self.last = Some((plan, program.outputs.clone()));
    }
}

impl Device for CpuDevice {
    fn load(&mut self, arena: Arena, offset: usize, data: &[f32]) {
        if arena == Arena::Gradients {
            self.written.push(offset..offset + data.len());
        }
        self.arena_mut(arena)[offset..offset + data.len()].copy_from_slice(data);
    }

    fn store(&self, arena: Arena, offset: usize, out: &mut [f32]) {
        out.copy_from_slice(&self.arena(arena)[offset..offset + out.len()]);
    }

    fn run(&mut self, program: &Program, batch: &Batch, scalars: Scalars) {
        self.run_from(&[], program, batch, scalars);
    }

    fn read(&self, value: Value) -> Vec<f64> {
        let span = self.last.as_ref().filter(|(_, outputs)| outputs.contains(&value)).map(|(plan, _)| plan.span(value));
        let span = span.unwrap_or_else(|| panic!("{value:?} is no output of the last program"));
        self.activations[span].iter().copied().map(f64::from).collect()
    }

    fn update(&mut self, update: &Update<'_>) {
        self.stopwatch.start(&self.threads);
        self.gradient_norm = optimizer::gradient_norm(&self.threads, &self.gradients);
        if !self.gradient_norm.is_finite() {
            return;
        }
        let mut adamw = update.adamw;
        let clip = clip_factor(update.max_gradient_norm, self.gradient_norm);
        if update.max_tensor_norm == 0.0 {
            adamw.gradient_scale *= clip as f32;
        } else {
            for tensor in update.tensors {
                let gradients = &mut self.gradients[tensor.clone()];
                let norm = clip * optimizer::gradient_norm(&self.threads, gradients);
                let factor = clip * clip_factor(update.max_tensor_norm, norm);
                optimizer::scale(&self.threads, gradients, factor as f32);
            }
        }
        optimizer::adamw(
            &self.threads,
            &adamw,
            update.decays,
            &mut self.parameters,
            &mut self.gradients,
            &mut self.first_moment,
            &mut self.second_moment,
        );
        self.written.clear();
        self.stopwatch.lap(&self.threads, Phase::Optimizer);
    }

    fn gradient_norm(&self) -> f64 {
        self.gradient_norm
    }

    fn activation_bytes(&self) -> usize {
        self.peak_activations * size_of::<f32>()
    }
}

struct Run<'a> {
    threads: &'a Threads,
    parameters: &'a [f32],
    gradients: &'a mut [f32],
    activations: &'a mut [f32],
    plan: &'a Plan,
    program: &'a Program,
    batch: &'a Batch,
    scalars: Scalars,
    shape: BatchShape,
    written: &'a mut Vec<Range<usize>>,
    stopwatch: &'a mut Stopwatch,
}

impl<'a> Run<'a> {
    fn op(&mut self, op: &Op) {
        match op {
            Op::Embedding(op) => self.embedding(op),
            Op::EmbeddingBackward(op) => self.embedding_backward(op),
            Op::LayerNorm(op) => self.layer_norm(op),
            Op::LayerNormBackward(op) => self.layer_norm_backward(op),
            Op::Linear(op) => self.linear(op),
            Op::LinearBackward(op) => self.linear_backward(op),
            Op::Attention(op) => self.attention(op),
            Op::AttentionBackward(op) => self.attention_backward(op),
            Op::Dropout(op) => self.dropout(op),
            Op::FirstToken(op) => self.first_token(op),
            Op::FirstTokenBackward(op) => self.first_token_backward(op),
            Op::Choices(op) => {
                let [x, out] = self.values([op.x, op.out]);
                out.copy_from_slice(x);
            }
            Op::ChoicesBackward(op) => {
                let [d_out, d_x] = self.values([op.d_out, op.d_x]);
                d_x.copy_from_slice(d_out);
            }
            Op::Tanh(op) => {
                let [x, out] = self.values([op.x, op.out]);
                tanh::forward(x, out);
            }
            Op::TanhBackward(op) => {
                let [out, d_out, d_x] = self.values([op.out, op.d_out, op.d_x]);
                tanh::backward(d_out, out, d_x);
            }
            Op::CrossEntropy(op) => self.cross_entropy(op),
            Op::CrossEntropyBackward(op) => self.cross_entropy_backward(op),
        }
    }

    fn embedding(&mut self, op: &ops::Embedding) {
        let (threads, batch) = (self.threads, self.batch);
        let tables = [op.word, op.position, op.token_type].map(|table| self.parameter(table));
        let [out] = self.values([op.out]);
        embedding::forward(
            threads,
            op.word.columns,
            &batch.ids,
            &batch.positions,
            &batch.type_ids,
            tables[0],
            tables[1],
            tables[2],
            out,
        );
    }

    fn embedding_backward(&mut self, op: &ops::EmbeddingBackward) {
        let (batch, forward) = (self.batch, &op.forward);
        for table in [forward.word, forward.position, forward.token_type] {
            self.first_gradient(table);
        }
        let d_out = &self.activations[self.plan.span(op.d_out)];
        let [word, position, token_type] =
            disjoint(self.gradients, [forward.word, forward.position, forward.token_type].map(Param::range));
        embedding::backward(
            self.threads,
            forward.word.columns,
            d_out,
            &batch.ids,
            &batch.positions,
            &batch.type_ids,
            forward.padding_index,
            word,
            position,
            token_type,
        );
    }

    fn layer_norm(&mut self, op: &ops::LayerNorm) {
        let (threads, hidden) = (self.threads, op.gain.len());
        let mask = self.mask(op.dropout, op.x);
        let (gain, bias) = (self.parameter(op.gain), self.parameter(op.bias));
        let saved = [op.saved.map(|s| s.normalized), op.saved.map(|s| s.rstd)];
        let spans = [Some(op.x), op.residual, Some(op.out), saved[0], saved[1]].map(|v| self.span(v));
        let [x, residual, out, normalized, rstd] = disjoint(self.activations, spans);
        layer_norm::forward(
            threads,
            hidden,
            x,
            op.residual.map(|_| &*residual),
            mask.as_ref().map(|(mask, keys)| (mask, *keys)),
            gain,
            bias,
            op.epsilon as f32,
            out,
            op.saved.map(|_| layer_norm::Saved { normalized, rstd }),
        );
    }

    fn layer_norm_backward(&mut self, op: &ops::LayerNormBackward) {
        let (threads, hidden) = (self.threads, op.gain.len());
        let mask = self.mask(op.dropout, op.d_x);
        let gain = self.parameter(op.gain);
        let residual = op.d_residual.map(|(value, _)| value);
        let spans = [Some(op.d_out), Some(op.saved.normalized), Some(op.saved.rstd), residual, Some(op.d_x)]
            .map(|v| self.span(v));
        let [d_out, normalized, rstd, d_residual, d_x] = disjoint(self.activations, spans);
        let [d_gain, d_bias] = disjoint(self.gradients, [op.gain.range(), op.bias.range()]);
        layer_norm::backward(
            threads,
            hidden,
            d_out,
            normalized,
            rstd,
            gain,
            mask.as_ref().map(|(mask, keys)| (mask, *keys)),
            op.d_residual.map(|(_, write)| (d_residual, write == Write::Accumulate)),
            d_x,
            d_gain,
            d_bias,
        );
    }

    fn linear(&mut self, op: &ops::Linear) {
        let (threads, shape) = (self.threads, self.gemm_shape(op.x, op.weight));
        let (weight, bias) = (self.parameter(op.weight), self.parameter(op.bias));
        match op.activation {
            Activation::None => {
                let [x, out] = self.values([op.x, op.out]);
                gemm::forward(threads, shape, x, weight, Some(bias), out);
            }
            Activation::Gelu { derivative } => {
                let spans = [Some(op.x), Some(op.out), derivative].map(|v| self.span(v));
                let [x, out, saved] = disjoint(self.activations, spans);
                gemm::forward_gelu(threads, shape, x, weight, bias, derivative.map(|_| saved), out);
            }
        }
        self.stopwatch.times.gemm_flops += shape.flops();
    }

    fn linear_backward(&mut self, op: &ops::LinearBackward) {
        let (threads, shape) = (self.threads, self.gemm_shape(op.x, op.weight));
        let accumulate = !self.first_gradient(op.weight);
        let weight = self.parameter(op.weight);
        let spans = [Some(op.x), Some(op.d_out), Some(op.d_x.0), op.derivative].map(|v| self.span(v));
        let [x, d_z, d_x, derivative] = disjoint(self.activations, spans);
        if op.derivative.is_some() {
            gelu::backward(threads, d_z, derivative);
        }
        let [d_weight, d_bias] = disjoint(self.gradients, [op.weight.range(), op.bias.range()]);
        gemm::weight_gradient(threads, shape, d_z, x, accumulate, d_weight, d_bias);
        self.stopwatch.lap(threads, Phase::WeightGradient);
        self.stopwatch.times.gemm_flops += 2 * shape.flops();
        gemm::data_gradient(threads, shape, d_z, weight, op.d_x.1 == Write::Accumulate, d_x);
    }

    fn attention(&mut self, op: &ops::Attention) {
        let (threads, batch) = (self.threads, self.batch);
        let shape = attention::Shape { heads: op.heads, head_dim: op.head_dim };
        let mask = self.mask(op.dropout, op.out);
        let mask = mask.as_ref().map(|(mask, keys)| (mask, *keys));
        let [first, second] = self.qkv_spans(op.qkv);
        let spans = [first, second, self.span(Some(op.out)), self.span(op.lse)];
        let [first, second, out, lse] = disjoint(self.activations, spans);
        let qkv = match op.qkv {
            Qkv::All(_) => attention::Qkv::All { qkv: first },
            Qkv::FirstToken { .. } => attention::Qkv::FirstToken { q: first, kv: second },
        };
        attention::forward(threads, shape, &batch.cu_seqlens, qkv, mask, out, op.lse.map(|_| lse));
    }

    fn attention_backward(&mut self, op: &ops::AttentionBackward) {
        let (threads, batch, forward) = (self.threads, self.batch, &op.forward);
        let shape = attention::Shape { heads: forward.heads, head_dim: forward.head_dim };
        let mask = self.mask(forward.dropout, forward.out);
        let mask = mask.as_ref().map(|(mask, keys)| (mask, *keys));
        let ([first, second], [d_first, d_second]) = (self.qkv_spans(forward.qkv), self.qkv_spans(op.d_qkv));
        let others = [Some(forward.out), Some(op.d_out), Some(op.lse)].map(|v| self.span(v));
        let [out, d_out, lse] = others;
        let spans = [first, second, out, d_out, lse, d_first, d_second];
        let [first, second, out, d_out, lse, d_first, d_second] = disjoint(self.activations, spans);
        let (qkv, gradient) = match forward.qkv {
            Qkv::All(_) => (attention::Qkv::All { qkv: first }, attention::QkvGradient::All { qkv: d_first }),
            Qkv::FirstToken { .. } => (
                attention::Qkv::FirstToken { q: first, kv: second },
                attention::QkvGradient::FirstToken { q: d_first, kv: d_second },
            ),
        };
        attention::backward(threads, shape, &batch.cu_seqlens, qkv, out, d_out, lse, mask, gradient);
    }

    fn dropout(&mut self, op: &ops::Dropout) {
        let (threads, columns) = (self.threads, self.program.info(op.x).columns);
        let mask = self.mask(Some(op.dropout), op.x);
        let [x, out] = self.values([op.x, op.out]);
        match mask {
            Some((mask, keys)) => dropout::apply(threads, columns, x, &mask, keys, out),
            None => out.copy_from_slice(x),
        }
    }

    fn first_token(&mut self, op: &ops::FirstToken) {
        let (columns, batch) = (self.program.info(op.x).columns, self.batch);
        let [x, out] = self.values([op.x, op.out]);
        rows::gather(columns, x, &batch.cu_seqlens[..batch.sequences()], out);
    }

    fn first_token_backward(&mut self, op: &ops::FirstTokenBackward) {
        let (columns, batch) = (self.program.info(op.d_out).columns, self.batch);
        let [d_out, d_x] = self.values([op.d_out, op.d_x.0]);
        if op.d_x.1 == Write::Overwrite {
            d_x.fill(0.0);
        }
        rows::scatter_add(columns, d_out, &batch.cu_seqlens[..batch.sequences()], d_x);
    }

    fn cross_entropy(&mut self, op: &ops::CrossEntropy) {
        let (classes, batch) = (self.program.info(op.logits).columns, self.batch);
        let [logits, probabilities, losses] = self.values([op.logits, op.probabilities, op.losses]);
        cross_entropy::forward(classes, logits, &batch.labels, probabilities, losses);
    }

    fn cross_entropy_backward(&mut self, op: &ops::CrossEntropyBackward) {
        let (classes, batch, scale) =
            (self.program.info(op.probabilities).columns, self.batch, self.scalars.loss_scale as f32);
        let [probabilities, d_logits] = self.values([op.probabilities, op.d_logits]);
        cross_entropy::backward(classes, probabilities, &batch.labels, scale, d_logits);
    }

    /// Whether the gradient of a matrix, which is about to be written, is all zero still.
    fn first_gradient(&mut self, param: Param) -> bool {
        let span = param.range();
        let first = self.written.iter().all(|other| other.end <= span.start || span.end <= other.start);
        if first {
            self.written.push(span);
        }
        first
    }

    /// The span of a value; the empty span at 0, which overlaps nothing, for None.
    fn span(&self, value: Option<Value>) -> Range<usize> {
        value.map_or(0..0, |value| self.plan.span(value))
    }

    fn qkv_spans(&self, qkv: Qkv) -> [Range<usize>; 2] {
        match qkv {
            Qkv::All(qkv) => [self.plan.span(qkv), 0..0],
            Qkv::FirstToken { q, kv } => [self.plan.span(q), self.plan.span(kv)],
        }
    }

    fn values<const N: usize>(&mut self, values: [Value; N]) -> [&mut [f32]; N] {
        let spans = values.map(|value| self.plan.span(value));
        disjoint(self.activations, spans)
    }

    fn parameter(&self, param: Param) -> &'a [f32] {
        &self.parameters[param.range()]
    }

    fn gemm_shape(&self, x: Value, weight: Param) -> gemm::Shape {
        gemm::Shape { rows: self.shape.rows(self.program.info(x).rows), inputs: weight.columns, outputs: weight.rows }
    }

    /// The mask maker of a dropout, and the keys of the rows of `value` on which it acts.
    fn mask(&self, dropout: Option<DropoutSite>, value: Value) -> Option<(philox::Dropout, &'a [u32])> {
        let mask = self.scalars.dropout(dropout?)?;
        Some((mask, self.batch.keys(self.program.info(value).rows)))
    }
}

/// What the end of an op is charged to.
fn phase(op: &Op) -> Phase {
    match op {
        Op::Linear(_) => Phase::GemmForward,
        Op::LinearBackward(_) => Phase::DataGradient,
        Op::Attention(_) | Op::AttentionBackward(_) => Phase::Attention,
        Op::LayerNorm(_) | Op::LayerNormBackward(_) => Phase::Norms,
        Op::Embedding(_)
        | Op::EmbeddingBackward(_)
        | Op::Dropout(_)
        | Op::FirstToken(_)
        | Op::FirstTokenBackward(_)
        | Op::Choices(_)
        | Op::ChoicesBackward(_)
        | Op::Tanh(_)
        | Op::TanhBackward(_)
        | Op::CrossEntropy(_)
        | Op::CrossEntropyBackward(_) => Phase::Other,
    }
}

/// Several spans of one arena at once, each to be written.
fn disjoint<const N: usize>(arena: &mut [f32], spans: [Range<usize>; N]) -> [&mut [f32]; N] {
    // Empty spans are moved to the front, where they cannot lie inside another.
    let spans = spans.map(|span| if span.is_empty() { 0..0 } else { span });
    arena.get_disjoint_mut(spans).expect("a plan gives the values of one op places of their own")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradient_check::{CLASSES, ENTRIES, batch};
    use crate::{Layout, Tape};

    const SCALARS: Scalars = Scalars { seed: 1, step: 0, loss_scale: 1.0 };

    struct Classifier {
        program: Program,
        layout: Layout,
        weight: Param,
    }

    fn classifier(hidden: usize) -> Classifier {
        let (mut layout, mut tape) = (Layout::default(), Tape::for_training());
        let tables = ["word", "position", "type"].map(|name| layout.matrix(&[name.into()], ENTRIES, hidden));
        let (weight, bias) = (layout.matrix(&["w".into()], CLASSES, hidden), layout.vector(&["b".into()], CLASSES));
        let x = tape.embedding(tables[0], tables[1], tables[2], None);
        let first = tape.first_token(x);
        let logits = tape.linear(first, weight, bias);
        let losses = tape.cross_entropy(logits);
        Classifier { program: tape.finish_with_backward(losses, &[]), layout, weight }
    }

    fn gradients(device: &CpuDevice, of: Param) -> Vec<f32> {
        let mut out = vec![0.0; of.len()];
        device.store(Arena::Gradients, of.offset, &mut out);
        out
    }

    /// The first gradient of a weight overwrites zeros; whatever else lies there has to be added to.
    #[test]
    fn gradients_are_added_to_those_of_an_earlier_run_and_to_loaded_ones() {
        let Classifier { program, layout, weight } = classifier(37);
        let (batch, parameters) = (batch(&[5, 1, 31]), (0..layout.len).map(|i| (i as f32).sin()).collect::<Vec<_>>());
        let device = || {
            let mut device = CpuDevice::new(layout.len, Threads::new(1).expect("threads start"));
            device.load(Arena::Parameters, 0, &parameters);
            device
        };
        let (mut once, mut twice, mut loaded) = (device(), device(), device());
        once.run(&program, &batch, SCALARS);
        let alone = gradients(&once, weight);
        twice.run(&program, &batch, SCALARS);
        twice.run(&program, &batch, SCALARS);
        loaded.load(Arena::Gradients, weight.slice(1, 1).offset, &vec![1.0; weight.columns]);
        loaded.run(&program, &batch, SCALARS);
        for (i, alone) in alone.iter().enumerate() {
            let row = i / weight.columns;
            let [twice, loaded] = [&twice, &loaded].map(|device| gradients(device, weight)[i]);
            assert!((twice - 2.0 * alone).abs() < 1e-6, "element {i}: {twice} and twice {alone}");
            let there = if row == 1 { 1.0 } else { 0.0 };
            assert!((loaded - there - alone).abs() < 1e-6, "element {i}: {loaded}, {alone} and {there}");
        }
        let tensors = layout.part_ranges();
        let adamw = crate::AdamW {
            learning_rate: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
            step: 1,
            bias_correction: true,
            gradient_scale: 1.0,
        };
        let update =
            Update { adamw, max_gradient_norm: 0.0, max_tensor_norm: 0.0, tensors: &tensors, decays: &layout.decays() };
        twice.update(&update);
        assert!(gradients(&twice, weight).iter().all(|g| *g == 0.0), "an update leaves zeros");
        twice.load(Arena::Parameters, 0, &parameters);
        twice.run(&program, &batch, SCALARS);
        assert_eq!(gradients(&twice, weight), alone, "the first run after an update starts from zeros");
    }
}
