//! A model on its device, and the only code that runs inference.

use crate::batches::{PackShape, Split};
use crate::error::TrainError;
use crate::model::{self, Heads};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use stepstone_engine::{Arena, CpuDevice, Device, PackError, Scalars, Threads};
use stepstone_models::{Answers, Classifier, EncoderConfig, HeadKind, InferencePass, Weights};

/// Examples per batch.
// Not the batch size of the recipe: without a backward pass there is memory for more.
const BATCH: usize = 64;

/// A classifier with its parameters in a device.
pub(crate) struct DeviceModel {
    pub(crate) classifier: Classifier,
    pub(crate) device: CpuDevice,
    inference: InferencePass,
}

/// The logits of a number of examples.
#[derive(Debug, PartialEq)]
pub(crate) struct Logits {
    /// `[examples * answers]`, all finite.
    values: Vec<f64>,
    /// Number of answers per example.
    answers: usize,
    /// Tokens that were processed.
    pub(crate) tokens: u64,
}

/// Why a model has no usable answer.
#[derive(Debug, PartialEq)]
pub(crate) enum Unusable {
    TooLarge(PackError),
    /// A logit of this example is NaN or infinite.
    Logit {
        example: usize,
        value: f64,
    },
    /// A parameter of this tensor is NaN or infinite.
    Parameter {
        tensor: String,
        value: f32,
    },
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge(error) => error.fmt(f),
            Self::Logit { example, value } => write!(f, "a logit of example {example} is {value}"),
            Self::Parameter { tensor, value } => write!(f, "a value of tensor `{tensor}` is {value}"),
        }
    }
}

impl DeviceModel {
    /// Lays out a model and makes its device; its parameters are still zero.
    pub(crate) fn new(
        config: &EncoderConfig,
        head: HeadKind,
        answers: Answers,
        threads: usize,
    ) -> Result<Self, TrainError> {
        let classifier = Classifier::new(config, head, answers);
        let pool = Threads::new(threads).map_err(|source| TrainError::Threads { threads, source })?;
        let device = CpuDevice::new(classifier.layout.len, pool);
        Ok(Self { inference: classifier.inference_pass(), device, classifier })
    }

    /// Fills every parameter; returns the names of the tensors that got new values.
    pub(crate) fn load(
        &mut self,
        config: &EncoderConfig,
        head: HeadKind,
        weights: &Weights,
        heads: Heads,
    ) -> Result<Vec<String>, TrainError> {
        model::load(&self.classifier, config, head, weights, heads, &mut self.device)
    }

    /// Logits of the first `examples` of a split, without dropout; None if `stop` was set meanwhile.
    pub(crate) fn logits(
        &mut self,
        split: &Split,
        examples: usize,
        shape: PackShape,
        stop: &AtomicBool,
    ) -> Result<Option<Logits>, Unusable> {
        let rows: Vec<u32> = (0..examples as u32).collect();
        let mut logits = Logits { values: Vec::new(), answers: self.classifier.answers.count(), tokens: 0 };
        for part in rows.chunks(BATCH) {
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            // Only dropout depends on the number within a step, so every batch may start at 0.
            let batch = split.pack(part, 0, shape).map_err(Unusable::TooLarge)?;
            // An inference program has neither dropout nor gradients, so its scalars do not matter.
            self.device.run(&self.inference.program, &batch, Scalars { seed: 0, step: 0, loss_scale: 0.0 });
            logits.values.extend(self.device.read(self.inference.logits));
            logits.tokens += batch.tokens() as u64;
        }
        // argmax would treat a NaN as the first label, and the run would continue with a meaningless score.
        match logits.values.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(Unusable::Logit { example: at / logits.answers, value: logits.values[at] }),
            None => Ok(Some(logits)),
        }
    }

    /// A copy of the parameters, which are all finite.
    pub(crate) fn parameters(&self) -> Result<Vec<f32>, Unusable> {
        let mut parameters = vec![0.0; self.classifier.layout.len];
        self.device.store(Arena::Parameters, 0, &mut parameters);
        // Finite logits are no proof: a row of the embedding table that no input reads may hold a NaN.
        for part in self.classifier.layout.parts() {
            if let Some(value) = parameters[part.param.range()].iter().find(|value| !value.is_finite()) {
                return Err(Unusable::Parameter { tensor: part.name.clone(), value: *value });
            }
        }
        Ok(parameters)
    }

    /// Replaces all parameters.
    pub(crate) fn set_parameters(&mut self, parameters: &[f32]) {
        self.device.load(Arena::Parameters, 0, parameters);
    }
}

impl Logits {
    /// The logits of each example.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.answers)
    }

    /// The answer with the largest logit for each example, the first on ties.
    pub(crate) fn predicted(&self) -> Vec<u32> {
        let best = |row: &[f64]| (1..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best }) as u32;
        self.rows().map(best).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_largest_logits_is_the_answer() {
        let logits = Logits { values: vec![0.0, 1.0, 1.0, -3.0, -2.0, -4.0, 5.0, 5.0, 5.0], answers: 3, tokens: 0 };
        assert_eq!(logits.predicted(), [1, 1, 0]);
        assert_eq!(logits.rows().nth(1), Some(&[-3.0, -2.0, -4.0][..]));
    }
}
