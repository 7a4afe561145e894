//! The recipe of a run: what a preset and layers of overrides resolve to.

use crate::error::TrainError;
use crate::overrides::{Layer, Overrides, Sources, wrong};
use crate::preset::{Length, Optimizer, Preset};
use crate::role::Role;
use serde::{Deserialize, Serialize};
use stepstone_models::{EncoderConfig, HeadKind};
use stepstone_tasks::{Pieces, Task};

/// How long the learning rate rises.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Warmup {
    /// Share of all steps, 0..1, rounded up.
    Ratio(f64),
    /// Steps.
    Steps(u64),
}

/// Every value of a run, resolved. In files the groups are flat, and their order is part of a run's id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// The head on the encoder.
    pub head: HeadKind,
    /// How gradients become updates.
    #[serde(flatten)]
    pub optimization: Optimization,
    /// Dropout before the last linear layer, 0..1; None takes the value of config.json.
    #[serde(default)]
    pub classifier_dropout: Option<f64>,
    /// Number of steps, and what each consists of.
    #[serde(flatten)]
    pub schedule: Schedule,
    /// What the encoder sees of a text.
    #[serde(flatten)]
    pub inputs: Inputs,
    /// How the best weights are found.
    #[serde(flatten)]
    pub selection: Selection,
    /// How much of the data is used.
    #[serde(flatten)]
    pub limits: Limits,
    /// Source of each value that a user can set.
    #[serde(skip)]
    pub sources: Sources,
}

/// How gradients become updates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Optimization {
    /// The rule.
    #[serde(default)]
    pub optimizer: Optimizer,
    /// Peak of the schedule: linear warm-up from 0, then linear to 0.
    pub learning_rate: f64,
    /// Decoupled; the optimizer decides which parameters it acts on.
    pub weight_decay: f64,
    /// Decay rate of the first moment.
    pub adam_beta1: f64,
    /// Decay rate of the second moment.
    pub adam_beta2: f64,
    /// Added to the square root of the second moment.
    pub adam_epsilon: f64,
    /// Global gradient norm above which gradients are scaled down; 0 means never.
    pub max_grad_norm: f64,
    /// Norm above which the gradient of a single tensor is scaled down, after global clipping; 0 means never.
    #[serde(default)]
    pub max_tensor_norm: f64,
}

/// The steps of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// The rise of the learning rate.
    pub warmup: Warmup,
    /// Optimizer steps of the run.
    pub total_steps: u64,
    /// Examples per step.
    pub batch_size: usize,
    /// Parts into which a batch is split to save memory; the update is the same.
    pub gradient_accumulation_steps: usize,
}

/// What the encoder sees of a text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inputs {
    /// Tokens of an input, special ones included; longer inputs are cut as `pieces` says.
    pub max_length: usize,
    /// How the texts of an input are made and cut.
    #[serde(default)]
    pub pieces: Pieces,
}

/// How the best weights of a run are found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Selection {
    /// Evaluations on the dev split, evenly spaced, the last one after the last step.
    pub evaluations: u64,
    /// A run ends after more than this many evaluations in a row without a new best; None means never.
    #[serde(default)]
    pub patience: Option<u64>,
    /// Number of dev examples, from the first one on, that select the best weights; None means all. The final score
    /// always uses all of them.
    #[serde(default)]
    pub selection_examples: Option<usize>,
}

/// How much of a task's data a run uses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Maximum number of training examples, see [`stepstone_tasks::TaskData::limit`]; None means all.
    pub max_train: Option<usize>,
    /// Maximum number of dev examples; None means all.
    pub max_dev: Option<usize>,
}

impl Recipe {
    /// Resolves a preset for an encoder and a task with `train` training examples in a role, with `layers` of
    /// overrides.
    ///
    /// # Errors
    /// If a value is impossible, one layer sets two that exclude each other, or the preset has no values for the task.
    pub fn resolve(
        preset: Preset,
        config: &EncoderConfig,
        (task, role): (&Task, Role),
        train: usize,
        layers: &[Layer],
    ) -> Result<Self, TrainError> {
        let values = preset.values(config, task, role)?;
        let (set, sources) = Overrides::merge(layers)?;
        let batch_size = set.batch_size.unwrap_or(values.batch_size);
        // An epoch covers the examples in use, not all examples of the task.
        let train = set.max_train.map_or(train, |max| train.min(max));
        // At least one step per epoch, or a task without examples would divide by 0.
        let length = RunLength::resolve(&set, values.length, train.div_ceil(batch_size).max(1) as u64)?;
        Ok(Self {
            head: set.head.unwrap_or(values.head),
            optimization: Optimization {
                optimizer: values.optimizer,
                learning_rate: set.learning_rate.unwrap_or(values.learning_rate),
                weight_decay: set.weight_decay.unwrap_or(0.01),
                adam_beta1: 0.9,
                adam_beta2: 0.999,
                adam_epsilon: values.adam_epsilon,
                max_grad_norm: set.max_grad_norm.unwrap_or(values.max_grad_norm),
                max_tensor_norm: values.max_tensor_norm,
            },
            classifier_dropout: set.classifier_dropout.or(values.classifier_dropout),
            schedule: Schedule {
                warmup: warmup(&set, length.total_steps)?,
                total_steps: length.total_steps,
                batch_size,
                gradient_accumulation_steps: parts(&set, batch_size)?,
            },
            inputs: Inputs { max_length: max_length(&set, config.usable_positions())?, pieces: values.pieces },
            selection: Selection {
                // A run of 3 steps cannot be evaluated 10 times.
                evaluations: set.evaluations.unwrap_or(length.evaluations).min(length.total_steps),
                patience: set.patience.or(values.patience),
                selection_examples: values.selection_examples,
            },
            limits: Limits { max_train: set.max_train, max_dev: set.max_dev },
            sources,
        })
    }

    /// Restores the source of each value of a recipe that was read from a file.
    ///
    /// # Errors
    /// As [`Recipe::resolve`], if `layers` are not those that made the recipe.
    pub fn restore_sources(&mut self, layers: &[Layer]) -> Result<(), TrainError> {
        self.sources = Overrides::merge(layers)?.1;
        Ok(())
    }

    /// The learning rate of step `step`, counted from 0: step / warm-up steps of the peak, then down to 0 at the end.
    ///
    /// Source: `get_linear_schedule_with_warmup` of transformers, whose warm-up ends on a whole step, and
    /// `WarmupLinearSchedule` of pytorch-pretrained-bert, whose need not.
    pub fn learning_rate_at(&self, step: u64) -> f64 {
        let total = self.schedule.total_steps as f64;
        let warmup = match (self.schedule.warmup, self.optimization.optimizer) {
            (Warmup::Steps(steps), _) => steps as f64,
            (Warmup::Ratio(ratio), Optimizer::AdamW) => (ratio * total).ceil(),
            (Warmup::Ratio(ratio), Optimizer::BertAdam) => ratio * total,
        };
        let step = step as f64;
        // If all steps are warm-up, nothing is left to decay over; 1 avoids a division by 0.
        let rest = if warmup < total { total - warmup } else { 1.0 };
        self.optimization.learning_rate * if step < warmup { step / warmup } else { (total - step) / rest }
    }

    /// Whether the dev split is scored after `done` steps.
    pub fn evaluates_after(&self, done: u64) -> bool {
        // Computed in whole numbers, because rounded fractions could lose the evaluation after the last step.
        let share = |steps: u64| steps * self.selection.evaluations / self.schedule.total_steps;
        done > 0 && share(done) > share(done - 1)
    }
}

/// The smallest whole number of epochs that gives 1,500 steps, but at least 3 and at most 20.
fn default_epochs(steps_per_epoch: u64) -> f64 {
    1500u64.div_ceil(steps_per_epoch).clamp(3, 20) as f64
}

/// Steps of a run, and the preset's evaluations in them.
struct RunLength {
    total_steps: u64,
    evaluations: u64,
}

impl RunLength {
    /// Takes `max_steps` if it is set, otherwise `epochs`.
    fn resolve(set: &Overrides, preset: Length, steps_per_epoch: u64) -> Result<Self, TrainError> {
        if let Some(total_steps) = set.max_steps {
            let evaluations = match preset {
                Length::Epochs { evaluations } => evaluations,
                Length::Intervals { steps, .. } => total_steps.div_ceil(steps),
            };
            // A number of steps is taken as given and not rounded up to whole intervals.
            return Ok(Self { total_steps, evaluations });
        }
        let epochs = set.epochs.unwrap_or_else(|| match preset {
            Length::Epochs { .. } => default_epochs(steps_per_epoch),
            Length::Intervals { epochs, .. } => epochs,
        });
        // Half an epoch of a tiny task must still be one step.
        let needed = ((epochs * steps_per_epoch as f64).ceil() as u64).max(1);
        let (total_steps, evaluations) = match preset {
            Length::Epochs { evaluations } => (needed, evaluations),
            Length::Intervals { steps, at_most, .. } => {
                let intervals = needed.div_ceil(steps).min(at_most);
                (intervals * steps, intervals)
            }
        };
        // The step number is one of the four 32-bit words from which every random number is made.
        if total_steps > u64::from(u32::MAX) {
            return Err(wrong("epochs", &format!("{epochs:?}"), "at most 4294967295 steps"));
        }
        Ok(Self { total_steps, evaluations })
    }
}

fn warmup(set: &Overrides, total_steps: u64) -> Result<Warmup, TrainError> {
    match set.warmup_steps {
        Some(steps) if steps > total_steps => {
            Err(wrong("warmup_steps", &steps.to_string(), &format!("at most {total_steps}")))
        }
        Some(steps) => Ok(Warmup::Steps(steps)),
        None => Ok(Warmup::Ratio(set.warmup_ratio.unwrap_or(0.1))),
    }
}

/// Parts of a batch.
fn parts(set: &Overrides, batch_size: usize) -> Result<usize, TrainError> {
    let parts = set.gradient_accumulation_steps.unwrap_or(1);
    if parts > batch_size {
        return Err(wrong(
            "gradient_accumulation_steps",
            &parts.to_string(),
            &format!("1 to batch_size, {batch_size}"),
        ));
    }
    Ok(parts)
}

fn max_length(set: &Overrides, usable: usize) -> Result<usize, TrainError> {
    let tokens = set.max_length.unwrap_or(256);
    if tokens > usable {
        let expected = format!("3 to {usable}, the positions of the encoder");
        return Err(wrong("max_length", &tokens.to_string(), &expected));
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overrides::Source;
    use proptest::prelude::*;

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
        assert_eq!((recipe.schedule.batch_size, recipe.schedule.total_steps), (4, 50));
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
        assert_eq!((recipe.schedule.total_steps, recipe.schedule.warmup), (7, Warmup::Steps(3)));
        assert!(!recipe.sources.contains_key("epochs") && !recipe.sources.contains_key("warmup_ratio"));
        let both = general(&Overrides { max_steps: Some(7), ..epochs });
        let error = resolve(100, &[both]).expect_err("both in one layer").to_string();
        assert_eq!(error, "`max_steps` is set beside epochs, expected one of the two");
    }

    #[test]
    fn a_cap_on_training_examples_shortens_an_epoch() {
        let capped = general(&Overrides { max_train: Some(32), epochs: Some(1.0), ..Overrides::default() });
        assert_eq!(resolve(100, &[capped]).expect("resolves").schedule.total_steps, 2);
    }

    /// As `get_linear_schedule_with_warmup` of transformers: a tenth of 15 steps is rounded up to 2.
    #[test]
    fn warm_up_ends_on_a_whole_step_and_the_rate_would_reach_0_one_step_after_the_last() {
        let set = Overrides { max_steps: Some(15), learning_rate: Some(1.0), ..Overrides::default() };
        let recipe = resolve(100, &[general(&set)]).expect("resolves");
        let rates = [0, 1, 2, 3, 14].map(|step| recipe.learning_rate_at(step));
        assert_eq!(rates, [0.0, 0.5, 1.0, 12.0 / 13.0, 1.0 / 13.0]);
    }

    #[test]
    fn the_defaults_that_the_table_names_are_those_of_the_preset() {
        let mut wide = config();
        wide.embeddings.max_position_embeddings = 512;
        let rte = stepstone_tasks::find("rte").expect("a task");
        let recipe = Recipe::resolve(Preset::Default, &wide, (rte, Role::Target), 100, &[]).expect("resolves");
        let mut values = serde_json::json!(recipe);
        values["warmup_ratio"] = values["warmup"]["ratio"].clone();
        let mut compared = Vec::new();
        for key in Overrides::KEYS {
            let number = |value: &serde_json::Value| value.as_f64().map(|number| number.to_string());
            let text = |value: &serde_json::Value| value.as_str().map(String::from);
            if let Some(value) = number(&values[key.name]).or_else(|| text(&values[key.name]))
                && !key.default.contains(' ')
            {
                assert_eq!(value, key.default, "{}", key.name);
                compared.push(key.name);
            }
        }
        let all = "head weight_decay max_grad_norm warmup_ratio batch_size gradient_accumulation_steps max_length evaluations";
        assert_eq!(compared.join(" "), all);
    }

    #[test]
    fn the_default_epochs_give_1500_steps_within_3_to_20() {
        let epochs = |train| {
            let recipe = resolve(train, &[general(&Overrides::default())]).expect("resolves");
            recipe.schedule.total_steps / train.div_ceil(16) as u64
        };
        // 2,490 examples make 156 steps per epoch, and 10 epochs are the first to give 1,500 steps.
        assert_eq!([1, 250, 2490, 8000, 1_000_000].map(epochs), [20, 20, 10, 3, 3]);
    }

    #[test]
    fn what_does_not_fit_the_encoder_the_batch_or_the_steps_is_refused() {
        let table = [
            (Overrides { max_length: Some(41), ..Overrides::default() }, "`max_length` is 41, expected 3 to 40"),
            (
                Overrides { gradient_accumulation_steps: Some(17), max_length: Some(16), ..Overrides::default() },
                "`gradient_accumulation_steps` is 17, expected 1 to batch_size, 16",
            ),
            (
                Overrides { max_steps: Some(3), warmup_steps: Some(4), max_length: Some(16), ..Overrides::default() },
                "`warmup_steps` is 4, expected at most 3",
            ),
            (
                Overrides { epochs: Some(1e12), max_length: Some(16), ..Overrides::default() },
                "`epochs` is 1000000000000.0, expected at most 4294967295 steps",
            ),
            (Overrides::default(), "`max_length` is 256, expected 3 to 40"),
        ];
        for (overrides, message) in table {
            let error = resolve(100, &[layer("[recipe]", overrides)]).expect_err(message).to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }

    /// Any number of steps and evaluations, and any warm-up.
    fn drawn() -> impl Strategy<Value = Recipe> {
        (1..3000u64, 1..50u64, any::<bool>(), 0.0..=1.0f64).prop_map(|(steps, evaluations, ratio, share)| {
            let warmup_steps = (share * steps as f64) as u64;
            let overrides = Overrides {
                max_steps: Some(steps),
                evaluations: Some(evaluations),
                warmup_ratio: ratio.then_some(share),
                warmup_steps: (!ratio).then_some(warmup_steps),
                ..Overrides::default()
            };
            resolve(100, &[general(&overrides)]).expect("resolves")
        })
    }

    proptest! {
        #[test]
        fn evaluations_are_as_many_as_asked_and_the_last_one_follows_the_last_step(recipe in drawn()) {
            let total = recipe.schedule.total_steps;
            let after: Vec<u64> = (0..=total).filter(|done| recipe.evaluates_after(*done)).collect();
            prop_assert_eq!(after.len() as u64, recipe.selection.evaluations);
            prop_assert_eq!(after.last(), Some(&total));
            let gaps: Vec<u64> = after.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let spread = gaps.iter().max().unwrap_or(&0) - gaps.iter().min().unwrap_or(&0);
            prop_assert!(spread <= 1, "even gaps: {:?}", gaps);
        }

        #[test]
        fn the_learning_rate_rises_to_the_peak_and_falls_to_0(recipe in drawn()) {
            let total = recipe.schedule.total_steps;
            let rates: Vec<f64> = (0..=total).map(|step| recipe.learning_rate_at(step)).collect();
            let peak = recipe.optimization.learning_rate;
            prop_assert!(rates.iter().all(|rate| (0.0..=peak * (1.0 + 1e-12)).contains(rate)));
            let top = rates.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(step, _)| step);
            prop_assert!(rates[..=top].windows(2).all(|pair| pair[0] <= pair[1]), "rises before step {}", top);
            prop_assert!(rates[top..].windows(2).all(|pair| pair[0] >= pair[1]), "falls after step {}", top);
            let warmup = match recipe.schedule.warmup {
                Warmup::Steps(steps) => steps,
                Warmup::Ratio(ratio) => (ratio * total as f64).ceil() as u64,
            };
            if warmup < total {
                prop_assert!((rates[warmup as usize] / peak - 1.0).abs() < 1e-12);
                prop_assert_eq!(rates[total as usize], 0.0);
            }
        }

        #[test]
        fn an_epoch_covers_every_example_and_no_step_more(train in 1..5000usize, batch_size in 1..100usize) {
            let overrides = Overrides { epochs: Some(1.0), batch_size: Some(batch_size), ..Overrides::default() };
            let steps = resolve(train, &[general(&overrides)]).expect("resolves").schedule.total_steps as usize;
            prop_assert!(steps * batch_size >= train && (steps - 1) * batch_size < train);
        }
    }
}
