//! The recipe of a run: preset `default`, overrides, and what they resolve to.

use crate::error::TrainError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use stepstone_models::{EncoderConfig, HeadKind};

/// Values that a user may set; None leaves the preset's. Names are the Trainer's where the meaning is the same.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each is described at Recipe")]
pub struct Overrides {
    pub head: Option<HeadKind>,
    pub learning_rate: Option<f64>,
    pub weight_decay: Option<f64>,
    pub max_grad_norm: Option<f64>,
    pub warmup_ratio: Option<f64>,
    pub warmup_steps: Option<u64>,
    pub epochs: Option<f64>,
    pub max_steps: Option<u64>,
    pub batch_size: Option<usize>,
    pub gradient_accumulation_steps: Option<usize>,
    pub max_length: Option<usize>,
    pub evaluations: Option<u64>,
}

/// How long the learning rate rises.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Warmup {
    /// Share of all steps, 0..1, rounded up.
    Ratio(f64),
    /// Steps.
    Steps(u64),
}

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Source {
    Preset,
    Flag,
}

/// Every value of a run, resolved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// The head on the encoder.
    pub head: HeadKind,
    /// Peak of the schedule: linear warm-up from 0, then linear to 0.
    pub learning_rate: f64,
    /// Decoupled; not on biases and layer norms.
    pub weight_decay: f64,
    /// First moment's decay.
    pub adam_beta1: f64,
    /// Second moment's decay.
    pub adam_beta2: f64,
    /// Added to the root of the second moment.
    pub adam_epsilon: f64,
    /// Global gradient norm above which gradients are scaled down; 0 means never.
    pub max_grad_norm: f64,
    /// The rise of the learning rate.
    pub warmup: Warmup,
    /// Optimizer steps of the run.
    pub total_steps: u64,
    /// Examples per step.
    pub batch_size: usize,
    /// Parts in which a batch is computed, to save memory; the update is the same.
    pub gradient_accumulation_steps: usize,
    /// Tokens of an input, special ones included; longer inputs are cut at the longest piece.
    pub max_length: usize,
    /// Evaluations on the dev split, evenly spaced, the last one after the last step.
    pub evaluations: u64,
    /// Where each value that can be set came from.
    #[serde(skip)]
    pub sources: BTreeMap<&'static str, Source>,
}

impl Recipe {
    /// Preset `default` for an encoder and a training set, with `overrides`.
    ///
    /// # Errors
    /// If a value is impossible, or two exclude each other.
    pub fn resolve(config: &EncoderConfig, train: usize, overrides: &Overrides) -> Result<Recipe, TrainError> {
        let mut resolver = Resolver { sources: BTreeMap::new() };
        let o = overrides;
        let small = config.hidden_size < 768;
        let positive = |v: &f64| *v > 0.0 && v.is_finite();
        let not_negative = |v: &f64| *v >= 0.0 && v.is_finite();
        if o.warmup_ratio.is_some() && o.warmup_steps.is_some() {
            return Err(wrong("warmup_steps", "set beside warmup_ratio", "one of the two"));
        }
        if o.epochs.is_some() && o.max_steps.is_some() {
            return Err(wrong("max_steps", "set beside epochs", "one of the two"));
        }
        let batch_size = resolver.get("batch_size", o.batch_size, 16, |v| (1..=0xffff).contains(v), "1 to 65535")?;
        let steps_per_epoch = train.div_ceil(batch_size).max(1) as u64;
        let epochs =
            resolver.get("epochs", o.epochs, default_epochs(steps_per_epoch), positive, "a positive number")?;
        let by_epochs = ((epochs * steps_per_epoch as f64).ceil() as u64).max(1);
        let total_steps =
            resolver.get("max_steps", o.max_steps, by_epochs, |v| (1..1 << 32).contains(v), "1 or more")?;
        let ratio = resolver.get("warmup_ratio", o.warmup_ratio, 0.1, |v| (0.0..=1.0).contains(v), "0 to 1")?;
        let warmup = match o.warmup_steps {
            None => Warmup::Ratio(ratio),
            Some(steps) if steps <= total_steps => {
                resolver.sources.remove("warmup_ratio");
                resolver.sources.insert("warmup_steps", Source::Flag);
                Warmup::Steps(steps)
            }
            Some(steps) => return Err(wrong("warmup_steps", &steps.to_string(), &format!("at most {total_steps}"))),
        };
        let usable = config.usable_positions();
        let fits = format!("3 to {usable}, the positions of the encoder");
        let rate = if small { 5e-5 } else { 2e-5 };
        Ok(Recipe {
            head: resolver.get("head", o.head, HeadKind::Hf, |_| true, "")?,
            learning_rate: resolver.get("learning_rate", o.learning_rate, rate, positive, "a positive number")?,
            weight_decay: resolver.get("weight_decay", o.weight_decay, 0.01, not_negative, "0 or more")?,
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            adam_epsilon: 1e-8,
            max_grad_norm: resolver.get("max_grad_norm", o.max_grad_norm, 1.0, not_negative, "0 or more")?,
            warmup,
            total_steps,
            batch_size,
            gradient_accumulation_steps: resolver.get(
                "gradient_accumulation_steps",
                o.gradient_accumulation_steps,
                1,
                |v| (1..=batch_size).contains(v),
                "1 to batch_size",
            )?,
            max_length: resolver.get("max_length", o.max_length, 256, |v| (3..=usable).contains(v), &fits)?,
            evaluations: resolver.get("evaluations", o.evaluations, 10, |v| *v > 0, "1 or more")?.min(total_steps),
            sources: resolver.sources,
        })
    }

    /// The learning rate of step `step`, counted from 0: step / warm-up steps of the peak, then down to 0 at the end.
    ///
    /// Source: `get_linear_schedule_with_warmup` of transformers.
    pub fn learning_rate_at(&self, step: u64) -> f64 {
        let warmup = match self.warmup {
            Warmup::Steps(steps) => steps,
            Warmup::Ratio(ratio) => (ratio * self.total_steps as f64).ceil() as u64,
        };
        let factor = if step < warmup {
            step as f64 / warmup as f64
        } else {
            (self.total_steps - step) as f64 / (self.total_steps - warmup).max(1) as f64
        };
        self.learning_rate * factor
    }

    /// Whether the dev split is scored after `done` steps.
    pub fn evaluates_after(&self, done: u64) -> bool {
        let share = |steps: u64| steps * self.evaluations / self.total_steps;
        done > 0 && share(done) > share(done - 1)
    }
}

/// 3 epochs, raised to the first whole number that gives 1,500 steps, but to 20 at most.
fn default_epochs(steps_per_epoch: u64) -> f64 {
    1500u64.div_ceil(steps_per_epoch).clamp(3, 20) as f64
}

struct Resolver {
    sources: BTreeMap<&'static str, Source>,
}

impl Resolver {
    fn get<T: std::fmt::Debug>(
        &mut self,
        key: &'static str,
        value: Option<T>,
        preset: T,
        valid: impl Fn(&T) -> bool,
        expected: &str,
    ) -> Result<T, TrainError> {
        self.sources.insert(key, if value.is_some() { Source::Flag } else { Source::Preset });
        let value = value.unwrap_or(preset);
        if valid(&value) { Ok(value) } else { Err(wrong(key, &format!("{value:?}"), expected)) }
    }
}

fn wrong(key: &'static str, found: &str, expected: &str) -> TrainError {
    TrainError::Recipe { key, found: found.into(), expected: expected.into() }
}
