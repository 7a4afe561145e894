//! The reference device: each op's definition in f64, as plain loops. It is slow and exists to be right.

use crate::batch::Batch;
use crate::device::{Arena, Device, Update, clip_factor};
use crate::layout::CHUNK;
use crate::program::Program;
use crate::reference_run::Run;
use crate::scalars::Scalars;
use crate::value::Value;

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

    /// An arena in f64.
    pub fn arena(&self, arena: Arena) -> &[f64] {
        match arena {
            Arena::Parameters => &self.parameters,
            Arena::Gradients => &self.gradients,
            Arena::FirstMoment => &self.first_moment,
            Arena::SecondMoment => &self.second_moment,
        }
    }

    /// Like [`ReferenceDevice::arena`], but mutable: finite differences change one parameter at a time.
    pub fn arena_mut(&mut self, arena: Arena) -> &mut [f64] {
        match arena {
            Arena::Parameters => &mut self.parameters,
            Arena::Gradients => &mut self.gradients,
            Arena::FirstMoment => &mut self.first_moment,
            Arena::SecondMoment => &mut self.second_moment,
        }
    }

    /// Like `run`, but some values are set before the first op.
    pub(crate) fn run_from(
        &mut self,
        inputs: &[(Value, Vec<f64>)],
        program: &Program,
        batch: &Batch,
        scalars: Scalars,
    ) {
        // Every value has memory of its own here, so an error in a memory plan cannot affect the reference.
        self.values = vec![Vec::new(); program.values.len()];
        inputs.iter().for_each(|(value, data)| self.values[value.index()].clone_from(data));
        let mut run = Run {
            parameters: &self.parameters,
            gradients: &mut self.gradients,
            values: &mut self.values,
            shapes: &program.values,
            batch,
            scalars,
        };
        for op in &program.ops {
            op.reference(&mut run);
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
        // Nothing reuses the memory of a value here, so every value can be read, not only outputs.
        self.values[value.index()].clone()
    }

    fn update(&mut self, update: &Update<'_>) {
        self.gradient_norm = self.gradients.iter().map(|g| g * g).sum::<f64>().sqrt();
        // As on the CPU, a step with an infinite or NaN gradient changes nothing.
        if !self.gradient_norm.is_finite() {
            return;
        }
        let a = &update.adamw;
        let clip = clip_factor(update.max_gradient_norm, self.gradient_norm);
        // Global clipping comes first, then clipping of each tensor by its remaining norm, in the order of the paper's
        // trainer.
        let mut scales = vec![clip; self.gradients.len()];
        for tensor in update.tensors.iter().filter(|_| update.max_tensor_norm > 0.0) {
            let norm = clip * self.gradients[tensor.clone()].iter().map(|g| g * g).sum::<f64>().sqrt();
            scales[tensor.clone()].fill(clip * clip_factor(update.max_tensor_norm, norm));
        }
        let (lr, beta1, beta2) = (a.learning_rate, a.beta1, a.beta2);
        let correction = |beta: f64| if a.bias_correction { 1.0 - beta.powf(a.step as f64) } else { 1.0 };
        for i in 0..self.parameters.len() {
            let g = self.gradients[i] * scales[i] * f64::from(a.gradient_scale);
            // Decay is decoupled: it acts on the parameter before the step, not on the gradient.
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
