//! The recipe of a run: a preset, layers of overrides, and what they resolve to.

use crate::error::TrainError;
use crate::preset::{Length, Optimizer, Preset};
use crate::role::Role;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use stepstone_models::{EncoderConfig, HeadKind};
use stepstone_tasks::{Pieces, Task};

/// Values that a user may set; None leaves the preset's. Names are the Trainer's where the meaning is the same.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each is described at Recipe")]
pub struct Overrides {
    pub head: Option<HeadKind>,
    pub learning_rate: Option<f64>,
    pub weight_decay: Option<f64>,
    pub max_grad_norm: Option<f64>,
    pub classifier_dropout: Option<f64>,
    pub warmup_ratio: Option<f64>,
    pub warmup_steps: Option<u64>,
    pub epochs: Option<f64>,
    pub max_steps: Option<u64>,
    pub batch_size: Option<usize>,
    pub gradient_accumulation_steps: Option<usize>,
    pub max_length: Option<usize>,
    pub evaluations: Option<u64>,
    pub patience: Option<u64>,
    pub max_train: Option<usize>,
    pub max_dev: Option<usize>,
}

impl Overrides {
    /// The name of every value, as it is written in files.
    pub const KEYS: [&str; 16] = [
        "head",
        "learning_rate",
        "weight_decay",
        "max_grad_norm",
        "classifier_dropout",
        "warmup_ratio",
        "warmup_steps",
        "epochs",
        "max_steps",
        "batch_size",
        "gradient_accumulation_steps",
        "max_length",
        "evaluations",
        "patience",
        "max_train",
        "max_dev",
    ];
}

/// Overrides that were written in one place. Of several layers the last that sets a value wins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// The place.
    pub source: Source,
    /// The values.
    pub overrides: Overrides,
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The preset.
    Preset,
    /// A table of a study file, such as `[recipe.target]`.
    Study(String),
    /// A flag of the command line.
    Flag,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Preset => f.write_str("preset"),
            Self::Study(table) => f.write_str(table),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// Every value of a run, resolved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// The head on the encoder.
    pub head: HeadKind,
    /// How gradients become updates.
    #[serde(default)]
    pub optimizer: Optimizer,
    /// Peak of the schedule: linear warm-up from 0, then linear to 0.
    pub learning_rate: f64,
    /// Decoupled; what it acts on is the optimizer's affair.
    pub weight_decay: f64,
    /// First moment's decay.
    pub adam_beta1: f64,
    /// Second moment's decay.
    pub adam_beta2: f64,
    /// Added to the root of the second moment.
    pub adam_epsilon: f64,
    /// Global gradient norm above which gradients are scaled down; 0 means never.
    pub max_grad_norm: f64,
    /// After that, the norm of one tensor's gradient above which it is scaled down; 0 means never.
    #[serde(default)]
    pub max_tensor_norm: f64,
    /// Dropout before the last linear layer, 0..1; None: as config.json says.
    #[serde(default)]
    pub classifier_dropout: Option<f64>,
    /// The rise of the learning rate.
    pub warmup: Warmup,
    /// Optimizer steps of the run.
    pub total_steps: u64,
    /// Examples per step.
    pub batch_size: usize,
    /// Parts in which a batch is computed, to save memory; the update is the same.
    pub gradient_accumulation_steps: usize,
    /// Tokens of an input, special ones included; longer inputs are cut as `pieces` says.
    pub max_length: usize,
    /// How the texts of an input are made and cut.
    #[serde(default)]
    pub pieces: Pieces,
    /// Evaluations on the dev split, evenly spaced, the last one after the last step.
    pub evaluations: u64,
    /// A run ends once more than so many evaluations in a row were no better than the best; None: it goes on.
    #[serde(default)]
    pub patience: Option<u64>,
    /// Dev examples, the first ones, that choose the best weights; None means all. Its score is always on all.
    #[serde(default)]
    pub selection_examples: Option<usize>,
    /// Training examples at most, see [`stepstone_tasks::TaskData::limit`]; None means all.
    pub max_train: Option<usize>,
    /// Dev examples at most; None means all.
    pub max_dev: Option<usize>,
    /// Where each value that can be set came from.
    #[serde(skip)]
    pub sources: BTreeMap<&'static str, Source>,
}

impl Recipe {
    /// A preset for an encoder and a task of `train` examples in a role, with `layers` of overrides.
    ///
    /// # Errors
    /// If a value is impossible, one layer sets two that exclude each other, or the preset knows nothing of the task.
    pub fn resolve(
        preset: Preset,
        config: &EncoderConfig,
        (task, role): (&Task, Role),
        train: usize,
        layers: &[Layer],
    ) -> Result<Self, TrainError> {
        let values = preset.values(config, task, role)?;
        let mut resolver = Resolver { layers, sources: BTreeMap::new() };
        let r = &mut resolver;
        let positive = |v: &f64| *v > 0.0 && v.is_finite();
        let not_negative = |v: &f64| *v >= 0.0 && v.is_finite();
        let some = |v: &Option<usize>| v.is_none_or(|v| v > 0);
        let max_train = r.get("max_train", |o| o.max_train.map(Some), None, some, "1 or more")?;
        let max_dev = r.get("max_dev", |o| o.max_dev.map(Some), None, some, "1 or more")?;
        let train = max_train.map_or(train, |max| train.min(max));
        let batch_size =
            r.get("batch_size", |o| o.batch_size, values.batch_size, |v| (1..=0xffff).contains(v), "1 to 65535")?;
        let (total_steps, evaluations) = r.total_steps(values.length, train.div_ceil(batch_size).max(1) as u64)?;
        let warmup = r.warmup(total_steps)?;
        let usable = config.usable_positions();
        let fits = format!("3 to {usable}, the positions of the encoder");
        let share = |v: &Option<f64>| v.is_none_or(|v| (0.0..1.0).contains(&v));
        let (rate, dropout) = (values.learning_rate, values.classifier_dropout);
        Ok(Self {
            head: r.get("head", |o| o.head, values.head, |_| true, "")?,
            optimizer: values.optimizer,
            learning_rate: r.get("learning_rate", |o| o.learning_rate, rate, positive, "a positive number")?,
            weight_decay: r.get("weight_decay", |o| o.weight_decay, 0.01, not_negative, "0 or more")?,
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            adam_epsilon: values.adam_epsilon,
            max_grad_norm: r.get(
                "max_grad_norm",
                |o| o.max_grad_norm,
                values.max_grad_norm,
                not_negative,
                "0 or more",
            )?,
            max_tensor_norm: values.max_tensor_norm,
            classifier_dropout: r.get(
                "classifier_dropout",
                |o| o.classifier_dropout.map(Some),
                dropout,
                share,
                "0 to below 1",
            )?,
            warmup,
            total_steps,
            batch_size,
            gradient_accumulation_steps: r.get(
                "gradient_accumulation_steps",
                |o| o.gradient_accumulation_steps,
                1,
                |v| (1..=batch_size).contains(v),
                "1 to batch_size",
            )?,
            max_length: r.get("max_length", |o| o.max_length, 256, |v| (3..=usable).contains(v), &fits)?,
            pieces: values.pieces,
            evaluations: r
                .get("evaluations", |o| o.evaluations, evaluations, |v| *v > 0, "1 or more")?
                .min(total_steps),
            patience: r.get("patience", |o| o.patience.map(Some), values.patience, |_| true, "")?,
            selection_examples: values.selection_examples,
            max_train,
            max_dev,
            sources: resolver.sources,
        })
    }

    /// The learning rate of step `step`, counted from 0: step / warm-up steps of the peak, then down to 0 at the end.
    ///
    /// Source: `get_linear_schedule_with_warmup` of transformers, whose warm-up ends on a whole step, and
    /// `WarmupLinearSchedule` of pytorch-pretrained-bert, whose need not.
    pub fn learning_rate_at(&self, step: u64) -> f64 {
        let total = self.total_steps as f64;
        let warmup = match (self.warmup, self.optimizer) {
            (Warmup::Steps(steps), _) => steps as f64,
            (Warmup::Ratio(ratio), Optimizer::AdamW) => (ratio * total).ceil(),
            (Warmup::Ratio(ratio), Optimizer::BertAdam) => ratio * total,
        };
        let step = step as f64;
        // Where all steps are warm-up, none is left to divide by.
        let rest = if warmup < total { total - warmup } else { 1.0 };
        self.learning_rate * if step < warmup { step / warmup } else { (total - step) / rest }
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

struct Resolver<'a> {
    layers: &'a [Layer],
    sources: BTreeMap<&'static str, Source>,
}

impl Resolver<'_> {
    /// The value of the last layer that sets one, else the preset's.
    fn get<T: fmt::Debug>(
        &mut self,
        key: &'static str,
        value: impl Fn(&Overrides) -> Option<T>,
        preset: T,
        valid: impl Fn(&T) -> bool,
        expected: &str,
    ) -> Result<T, TrainError> {
        let set = self.layers.iter().rev().find_map(|layer| Some((value(&layer.overrides)?, layer.source.clone())));
        let (value, source) = set.unwrap_or((preset, Source::Preset));
        self.sources.insert(key, source);
        if valid(&value) { Ok(value) } else { Err(wrong(key, &format!("{value:?}"), expected)) }
    }

    /// Steps of the run and the preset's evaluations. `epochs` or `max_steps`: of the last layer that sets one, which may
    /// not set both.
    fn total_steps(&mut self, length: Length, steps_per_epoch: u64) -> Result<(u64, u64), TrainError> {
        let steps = |v: &u64| (1..1 << 32).contains(v);
        match self.last_with(|o| (o.epochs.is_some(), o.max_steps.is_some())) {
            Some((true, true)) => Err(wrong("max_steps", "set beside epochs", "one of the two")),
            Some((_, true)) => {
                let total = self.get("max_steps", |o| o.max_steps, 1, steps, "1 or more")?;
                let evaluations = match length {
                    Length::Epochs { evaluations } => evaluations,
                    Length::Intervals { steps, .. } => total.div_ceil(steps),
                };
                Ok((total, evaluations))
            }
            Some((_, false)) | None => {
                let preset = match length {
                    Length::Epochs { .. } => default_epochs(steps_per_epoch),
                    Length::Intervals { epochs, .. } => epochs,
                };
                let positive = |v: &f64| *v > 0.0 && v.is_finite();
                let epochs = self.get("epochs", |o| o.epochs, preset, positive, "a positive number")?;
                let needed = ((epochs * steps_per_epoch as f64).ceil() as u64).max(1);
                let (total, evaluations) = match length {
                    Length::Epochs { evaluations } => (needed, evaluations),
                    Length::Intervals { steps, at_most, .. } => {
                        let intervals = needed.div_ceil(steps).min(at_most);
                        (intervals * steps, intervals)
                    }
                };
                let fits = steps(&total);
                fits.then_some((total, evaluations))
                    .ok_or_else(|| wrong("epochs", &format!("{epochs:?}"), "fewer steps"))
            }
        }
    }

    /// `warmup_ratio` or `warmup_steps`, likewise.
    fn warmup(&mut self, total: u64) -> Result<Warmup, TrainError> {
        match self.last_with(|o| (o.warmup_ratio.is_some(), o.warmup_steps.is_some())) {
            Some((true, true)) => Err(wrong("warmup_steps", "set beside warmup_ratio", "one of the two")),
            Some((_, true)) => {
                let at_most = format!("at most {total}");
                self.get("warmup_steps", |o| o.warmup_steps, 0, |v| *v <= total, &at_most).map(Warmup::Steps)
            }
            Some((_, false)) | None => {
                let share = |v: &f64| (0.0..=1.0).contains(v);
                self.get("warmup_ratio", |o| o.warmup_ratio, 0.1, share, "0 to 1").map(Warmup::Ratio)
            }
        }
    }

    /// Which of two values are set in the last layer that sets any of them.
    fn last_with(&self, set: impl Fn(&Overrides) -> (bool, bool)) -> Option<(bool, bool)> {
        self.layers.iter().rev().map(|layer| set(&layer.overrides)).find(|(first, second)| *first || *second)
    }
}

fn wrong(key: &'static str, found: &str, expected: &str) -> TrainError {
    TrainError::Recipe { key, found: found.into(), expected: expected.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> EncoderConfig {
        let golden = stepstone_fixtures::encoder("bert");
        EncoderConfig::read(&golden).expect("a config")
    }

    fn resolve(train: usize, layers: &[Layer]) -> Result<Recipe, TrainError> {
        let rte = stepstone_tasks::find("rte").expect("a task");
        Recipe::resolve(Preset::Default, &config(), (rte, Role::Target), train, layers)
    }

    fn layer(source: &str, overrides: Overrides) -> Layer {
        Layer { source: Source::Study(source.into()), overrides }
    }

    /// The tests' encoder has 40 positions, fewer than the preset's max_length.
    fn general(overrides: &Overrides) -> Layer {
        layer("[recipe]", Overrides { max_length: Some(16), ..overrides.clone() })
    }

    #[test]
    fn the_last_layer_that_sets_a_value_wins_and_is_named() {
        let role = Overrides { epochs: Some(2.0), batch_size: Some(8), ..Overrides::default() };
        let task = Overrides { batch_size: Some(4), ..Overrides::default() };
        let layers = [general(&Overrides::default()), layer("[recipe.target]", role), layer("[task.rte]", task)];
        let recipe = resolve(100, &layers).expect("resolves");
        assert_eq!((recipe.batch_size, recipe.total_steps), (4, 50));
        let source = |key: &str| recipe.sources[key].to_string();
        assert_eq!(
            ["batch_size", "epochs", "max_length", "learning_rate"].map(source),
            ["[task.rte]", "[recipe.target]", "[recipe]", "preset"]
        );
    }

    #[test]
    fn steps_in_a_later_layer_replace_epochs_in_an_earlier_one_but_not_beside_them() {
        let epochs = Overrides { epochs: Some(2.0), warmup_ratio: Some(0.5), ..Overrides::default() };
        let steps = Overrides { max_steps: Some(7), warmup_steps: Some(3), ..Overrides::default() };
        let layers = [general(&epochs), layer("[task.rte]", steps)];
        let recipe = resolve(100, &layers).expect("resolves");
        assert_eq!((recipe.total_steps, recipe.warmup), (7, Warmup::Steps(3)));
        assert!(!recipe.sources.contains_key("epochs") && !recipe.sources.contains_key("warmup_ratio"));
        let both = general(&Overrides { max_steps: Some(7), ..epochs });
        let error = resolve(100, &[both]).expect_err("both in one layer").to_string();
        assert_eq!(error, "`max_steps` is set beside epochs, expected one of the two");
    }

    #[test]
    fn a_cap_on_training_examples_shortens_an_epoch() {
        let capped = general(&Overrides { max_train: Some(32), epochs: Some(1.0), ..Overrides::default() });
        assert_eq!(resolve(100, &[capped]).expect("resolves").total_steps, 2);
    }

    #[test]
    fn keys_are_the_names_of_all_overrides() {
        let serde_json::Value::Object(fields) = serde_json::json!(Overrides::default()) else { panic!("an object") };
        assert_eq!(fields.keys().collect::<Vec<_>>(), Overrides::KEYS.iter().collect::<Vec<_>>());
    }
}
