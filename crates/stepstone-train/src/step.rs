//! One optimizer step: forward and backward over the examples of a batch, then the update.

use crate::batches::Order;
use crate::error::TrainError;
use crate::inference::{DeviceModel, Unusable};
use crate::preset::Optimizer;
use crate::run::Run;
use std::ops::Range;
use stepstone_engine::{AdamW, Device, Scalars, Update};
use stepstone_models::TrainingPass;

/// Number of recent gradient norms that an error reports.
// Enough to show whether the norm grew step by step or jumped.
const NORMS_KEPT: usize = 8;

/// State that all steps of a run share.
pub(crate) struct Stepper<'a> {
    run: &'a Run,
    training: TrainingPass,
    decays: Vec<bool>,
    tensors: Vec<Range<usize>>,
    pub(crate) order: Order,
    /// Gradient norms of the last steps, before clipping.
    norms: Vec<f64>,
}

/// Result of one step.
pub(crate) struct Step {
    /// Mean over the examples, nats.
    pub(crate) loss: f64,
    /// Tokens of all examples.
    pub(crate) tokens: u64,
}

impl<'a> Stepper<'a> {
    pub(crate) fn new(run: &'a Run, model: &DeviceModel) -> Self {
        let (recipe, layout) = (run.recipe(), &model.classifier.layout);
        Self {
            run,
            training: model.classifier.training_pass(),
            decays: match recipe.optimization.optimizer {
                Optimizer::AdamW => layout.decays(),
                // BertAdam decays every parameter, biases and layer norms included.
                Optimizer::BertAdam => vec![true; layout.decays().len()],
            },
            tensors: layout.part_ranges(),
            order: Order::new(run.seed(), run.train.gold.len(), recipe.schedule.batch_size),
            norms: Vec::new(),
        }
    }

    /// Step `step`, counted from 0, in one or more micro-batches.
    pub(crate) fn step(&mut self, model: &mut DeviceModel, step: u64) -> Result<Step, TrainError> {
        let done = self.gradients(model, step)?;
        model.device.update(&Update {
            adamw: self.adamw(step),
            max_gradient_norm: self.run.recipe().optimization.max_grad_norm as f32,
            max_tensor_norm: self.run.recipe().optimization.max_tensor_norm as f32,
            tensors: &self.tensors,
            decays: &self.decays,
        });
        let norm = model.device.gradient_norm();
        if !done.loss.is_finite() {
            return Err(self.not_finite(step + 1, format!("the loss is {}", done.loss)));
        }
        // The device skips an update with such a norm, so the weights are still those of the step before.
        if !norm.is_finite() {
            return Err(self.not_finite(step + 1, format!("the gradient norm is {norm}")));
        }
        self.norms.push(norm);
        if self.norms.len() > NORMS_KEPT {
            self.norms.remove(0);
        }
        Ok(done)
    }

    /// Computes the gradients of the step's examples and leaves them in the device.
    fn gradients(&mut self, model: &mut DeviceModel, step: u64) -> Result<Step, TrainError> {
        let run = self.run;
        // The order follows from seed and step alone, so a resumed run sees the same batches.
        let rows = self.order.step(step);
        let scalars = Scalars { seed: run.seed(), step: step as u32, loss_scale: 1.0 / rows.len() as f64 };
        let (mut done, mut first) = (Step { loss: 0.0, tokens: 0 }, 0);
        // The loss is scaled by the whole batch, so that gradients of its parts simply add up. `first` numbers the examples
        // within the batch: dropout then does not depend on the number of parts.
        // A last batch smaller than the number of parts has one example per part.
        for part in rows.chunks(rows.len().div_ceil(run.recipe().schedule.gradient_accumulation_steps)) {
            let batch = run.train.pack(part, first, run.pack_shape());
            let batch = batch.map_err(|error| self.unusable(step, &Unusable::TooLarge(error)))?;
            model.device.run(&self.training.program, &batch, scalars);
            done.loss += model.device.read(self.training.losses).iter().sum::<f64>() * scalars.loss_scale;
            done.tokens += batch.tokens() as u64;
            first += part.len();
        }
        Ok(done)
    }

    fn adamw(&self, step: u64) -> AdamW {
        let recipe = self.run.recipe();
        AdamW {
            learning_rate: recipe.learning_rate_at(step),
            beta1: recipe.optimization.adam_beta1,
            beta2: recipe.optimization.adam_beta2,
            epsilon: recipe.optimization.adam_epsilon,
            weight_decay: recipe.optimization.weight_decay,
            // The bias correction counts steps from 1.
            step: step + 1,
            bias_correction: recipe.optimization.optimizer == Optimizer::AdamW,
            gradient_scale: 1.0,
        }
    }

    /// The gradient norm of the last step.
    pub(crate) fn last_norm(&self) -> Option<f64> {
        self.norms.last().copied()
    }

    /// The model has no usable answer after `step` steps.
    pub(crate) fn unusable(&self, step: u64, unusable: &Unusable) -> TrainError {
        match unusable {
            Unusable::TooLarge(error) => {
                TrainError::Recipe { key: "batch_size", found: error.to_string(), expected: "a smaller batch".into() }
            }
            Unusable::Logit { .. } | Unusable::Parameter { .. } => self.not_finite(step, unusable.to_string()),
        }
    }

    fn not_finite(&self, step: u64, found: String) -> TrainError {
        TrainError::NotFinite { step, found, norms: self.norms.clone() }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{place, run};
    use crate::trainer::Trainer;
    use serde_json::json;

    #[test]
    fn every_example_keeps_its_dropout_masks_in_whatever_part_of_the_batch_it_is() {
        let place = place();
        let losses = [1, 2, 5].map(|parts| {
            let run = run(place.path(), &parts.to_string(), &json!({"gradient_accumulation_steps": parts}));
            let (mut trainer, _) = Trainer::new(&run).expect("a trainer");
            trainer.step().expect("a step")
        });
        // Sums of five losses in f64, of products whose order of addition does not depend on the parts.
        assert!(losses.iter().all(|loss| (loss - losses[0]).abs() < 1e-6), "{losses:?}");
    }
}
