//! The reference device: f64, plain loops, each op's definition taken at its word. Slow; it exists to be right.

use crate::device::clip_factor;
use crate::tape::{DropoutSite, Write};
use crate::{Arena, Batch, CHUNK, Device, Op, Param, Program, Scalars, Update, Value};
use stepstone_kernels::philox;

/// Runs whole models in f64.
#[derive(Debug)]
pub struct ReferenceDevice {
    parameters: Vec<f64>,
    gradients: Vec<f64>,
    first_moment: Vec<f64>,
    second_moment: Vec<f64>,
    values: Vec<Vec<f64>>,
    gradient_norm: f64,
}

impl ReferenceDevice {
    /// Arenas of `len` elements, all zero.
    pub fn new(len: usize) -> Self {
        Self {
            parameters: vec![0.0; len],
            gradients: vec![0.0; len],
            first_moment: vec![0.0; len],
            second_moment: vec![0.0; len],
            values: Vec::new(),
            gradient_norm: 0.0,
        }
    }

    /// An arena at full width.
    pub fn arena(&self, arena: Arena) -> &[f64] {
        match arena {
            Arena::Parameters => &self.parameters,
            Arena::Gradients => &self.gradients,
            Arena::FirstMoment => &self.first_moment,
            Arena::SecondMoment => &self.second_moment,
        }
    }

    /// As [`ReferenceDevice::arena`], to be changed: finite differences move one parameter at a time.
    pub fn arena_mut(&mut self, arena: Arena) -> &mut [f64] {
        match arena {
            Arena::Parameters => &mut self.parameters,
            Arena::Gradients => &mut self.gradients,
            Arena::FirstMoment => &mut self.first_moment,
            Arena::SecondMoment => &mut self.second_moment,
        }
    }

    /// As `run`, where some values are there before the first op.
    pub(crate) fn run_from(
        &mut self,
        inputs: &[(Value, Vec<f64>)],
        program: &Program,
        batch: &Batch,
        scalars: Scalars,
    ) {
        self.values = vec![Vec::new(); program.values.len()];
        inputs.iter().for_each(|(value, data)| self.values[value.0 as usize].clone_from(data));
        let mut run = Run {
            parameters: &self.parameters,
            gradients: &mut self.gradients,
            values: &mut self.values,
            program,
            batch,
            scalars,
            loss_scale: scalars.loss_scale,
        };
        for op in &program.ops {
            run.op(op);
        }
    }
}

impl Device for ReferenceDevice {
    fn load(&mut self, arena: Arena, offset: usize, data: &[f32]) {
        let target = &mut self.arena_mut(arena)[offset..offset + data.len()];
        target.iter_mut().zip(data).for_each(|(t, d)| *t = f64::from(*d));
    }

    fn store(&self, arena: Arena, offset: usize, out: &mut [f32]) {
        let source = &self.arena(arena)[offset..offset + out.len()];
        out.iter_mut().zip(source).for_each(|(o, s)| *o = *s as f32);
    }

    fn run(&mut self, program: &Program, batch: &Batch, scalars: Scalars) {
        self.run_from(&[], program, batch, scalars);
    }

    fn read(&self, value: Value) -> Vec<f64> {
        self.values[value.0 as usize].clone()
    }

    fn update(&mut self, update: &Update<'_>) {
        self.gradient_norm = self.gradients.iter().map(|g| g * g).sum::<f64>().sqrt();
        if !self.gradient_norm.is_finite() {
            return;
        }
        let a = &update.adamw;
        let clip = clip_factor(update.max_gradient_norm, self.gradient_norm);
        let mut scales = vec![clip; self.gradients.len()];
        for tensor in update.tensors.iter().filter(|_| update.max_tensor_norm > 0.0) {
            let norm = clip * self.gradients[tensor.clone()].iter().map(|g| g * g).sum::<f64>().sqrt();
            scales[tensor.clone()].fill(clip * clip_factor(update.max_tensor_norm, norm));
        }
        let (lr, beta1, beta2) = (a.learning_rate, a.beta1, a.beta2);
        let correction = |beta: f64| if a.bias_correction { 1.0 - beta.powf(a.step as f64) } else { 1.0 };
        for i in 0..self.parameters.len() {
            let g = self.gradients[i] * scales[i] * f64::from(a.gradient_scale);
            if update.decays[i / CHUNK] {
                self.parameters[i] *= 1.0 - lr * a.weight_decay;
            }
            self.first_moment[i] = beta1 * self.first_moment[i] + (1.0 - beta1) * g;
            self.second_moment[i] = beta2 * self.second_moment[i] + (1.0 - beta2) * g * g;
            let denominator = (self.second_moment[i] / correction(beta2)).sqrt() + a.epsilon;
            self.parameters[i] -= lr * self.first_moment[i] / correction(beta1) / denominator;
        }
        self.gradients.fill(0.0);
    }

    fn gradient_norm(&self) -> f64 {
        self.gradient_norm
    }

    fn activation_bytes(&self) -> usize {
        self.values.iter().map(Vec::len).sum::<usize>() * size_of::<f64>()
    }
}

/// One run of one program, as the ops' definitions see it.
pub(crate) struct Run<'a> {
    pub(crate) parameters: &'a [f64],
    pub(crate) gradients: &'a mut [f64],
    pub(crate) batch: &'a Batch,
    pub(crate) loss_scale: f64,
    values: &'a mut Vec<Vec<f64>>,
    program: &'a Program,
    scalars: Scalars,
}

impl Run<'_> {
    fn op(&mut self, op: &Op) {
        match op {
            Op::Embedding(op) => op.reference(self),
            Op::EmbeddingBackward(op) => op.reference(self),
            Op::LayerNorm(op) => op.reference(self),
            Op::LayerNormBackward(op) => op.reference(self),
            Op::Linear(op) => op.reference(self),
            Op::LinearBackward(op) => op.reference(self),
            Op::Attention(op) => op.reference(self),
            Op::AttentionBackward(op) => op.reference(self),
            Op::Dropout(op) => op.reference(self),
            Op::FirstToken(op) => op.reference(self),
            Op::FirstTokenBackward(op) => op.reference(self),
            Op::Choices(op) => op.reference(self),
            Op::ChoicesBackward(op) => op.reference(self),
            Op::Tanh(op) => op.reference(self),
            Op::TanhBackward(op) => op.reference(self),
            Op::CrossEntropy(op) => op.reference(self),
            Op::CrossEntropyBackward(op) => op.reference(self),
        }
    }

    pub(crate) fn get(&self, value: Value) -> &[f64] {
        &self.values[value.0 as usize]
    }

    pub(crate) fn set(&mut self, value: Value, data: Vec<f64>) {
        debug_assert_eq!(data.len(), self.rows(value) * self.columns(value), "{value:?}");
        self.values[value.0 as usize] = data;
    }

    pub(crate) fn write(&mut self, value: Value, write: Write, mut data: Vec<f64>) {
        if write == Write::Accumulate {
            data.iter_mut().zip(self.get(value)).for_each(|(d, old)| *d += old);
        }
        self.set(value, data);
    }

    pub(crate) fn rows(&self, value: Value) -> usize {
        self.batch.shape().rows(self.program.info(value).rows)
    }

    pub(crate) fn columns(&self, value: Value) -> usize {
        self.program.info(value).columns
    }

    pub(crate) fn parameter(&self, param: Param) -> &[f64] {
        &self.parameters[param.range()]
    }

    pub(crate) fn add_gradient(&mut self, param: Param, data: &[f64]) {
        self.gradients[param.range()].iter_mut().zip(data).for_each(|(g, d)| *g += d);
    }

    /// Dropout multipliers of one row, all 1 without dropout.
    pub(crate) fn multipliers(&self, dropout: Option<DropoutSite>, row_key: u32, columns: usize) -> Vec<f64> {
        let mut multipliers = vec![1.0f32; columns];
        if let Some(dropout) = dropout.and_then(|d| self.scalars.dropout(d)) {
            dropout.multipliers(row_key, &mut multipliers);
        }
        multipliers.into_iter().map(f64::from).collect()
    }

    /// `value` times its dropout multipliers.
    pub(crate) fn masked(&self, value: Value, dropout: Option<DropoutSite>) -> Vec<f64> {
        let mut data = self.get(value).to_vec();
        let keys = self.batch.keys(self.program.info(value).rows);
        for (row, key) in data.chunks_exact_mut(self.columns(value)).zip(keys) {
            let multipliers = self.multipliers(dropout, *key, row.len());
            row.iter_mut().zip(multipliers).for_each(|(v, m)| *v *= m);
        }
        data
    }
}

impl Scalars {
    /// The mask maker of one site in this step.
    pub(crate) fn dropout(self, dropout: DropoutSite) -> Option<philox::Dropout> {
        philox::Dropout::new(dropout.probability, self.seed, self.step, dropout.site.0)
    }
}
