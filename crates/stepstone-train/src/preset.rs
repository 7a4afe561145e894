//! The presets: starting values of a recipe.

use crate::error::TrainError;
use crate::role::Role;
use serde::{Deserialize, Serialize};
use stepstone_models::{EncoderConfig, HeadKind};
use stepstone_tasks::{Pieces, Task};

/// A named set of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// Values in common use for fine-tuning today.
    #[default]
    Default,
    /// The values of the ACL 2020 study, task by task: optimizer, table of values, rounding of epochs, selection.
    Acl2020,
}

impl Preset {
    /// The name of every preset, as it is written in files.
    pub const NAMES: [&str; 2] = ["default", "acl2020"];

    /// The preset of this name.
    pub fn of(name: &str) -> Option<Self> {
        match name {
            "default" => Some(Self::Default),
            "acl2020" => Some(Self::Acl2020),
            _ => None,
        }
    }
}

/// How gradients become updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Optimizer {
    /// Like `torch.optim.AdamW`, without weight decay on biases and layer norms.
    #[default]
    AdamW,
    /// Like `BertAdam` of pytorch-pretrained-bert: no bias correction, decay on everything, a second clipping of each
    /// tensor, and a warm-up that need not end on a whole step.
    BertAdam,
}

impl std::fmt::Display for Optimizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::AdamW => "AdamW",
            Self::BertAdam => "BertAdam",
        })
    }
}

/// Length of a run, and when it is evaluated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Length {
    /// 3 to 20 epochs: the smallest whole number that gives 1,500 steps. Evaluations are evenly spaced.
    Epochs { evaluations: u64 },
    /// `epochs`, rounded up to whole intervals of `steps` steps, at most `at_most` of them; one evaluation after each.
    Intervals { epochs: f64, steps: u64, at_most: u64 },
}

/// The values of a preset for one task in one role.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Values {
    pub(crate) head: HeadKind,
    pub(crate) optimizer: Optimizer,
    pub(crate) learning_rate: f64,
    pub(crate) adam_epsilon: f64,
    pub(crate) max_grad_norm: f64,
    pub(crate) max_tensor_norm: f64,
    pub(crate) classifier_dropout: Option<f64>,
    pub(crate) batch_size: usize,
    pub(crate) length: Length,
    pub(crate) pieces: Pieces,
    pub(crate) patience: Option<u64>,
    pub(crate) selection_examples: Option<usize>,
}

impl Preset {
    /// The values for one task in one role.
    ///
    /// # Errors
    /// If the preset has no values for the task.
    pub(crate) fn values(self, config: &EncoderConfig, task: &Task, role: Role) -> Result<Values, TrainError> {
        match self {
            Self::Default => Ok(Values {
                head: HeadKind::Hf,
                optimizer: Optimizer::AdamW,
                learning_rate: if config.hidden_size < 768 { 5e-5 } else { 2e-5 },
                adam_epsilon: 1e-8,
                max_grad_norm: 1.0,
                max_tensor_norm: 0.0,
                classifier_dropout: None,
                batch_size: 16,
                length: Length::Epochs { evaluations: 10 },
                pieces: Pieces::Joined,
                patience: None,
                selection_examples: None,
            }),
            Self::Acl2020 => acl2020(task.name, role).ok_or_else(|| TrainError::Recipe {
                key: "preset",
                found: format!("acl2020, which has no values for task {}", task.name),
                expected: "`default`, or a task of that study".into(),
            }),
        }
    }
}

/// Learning rate and dropout of the configurations that the study searched, by their number.
const SEARCHED: [(f64, f64); 8] =
    [(2e-5, 0.2), (2e-5, 0.1), (1e-5, 0.2), (1e-5, 0.1), (5e-6, 0.2), (5e-6, 0.1), (3e-6, 0.2), (3e-6, 0.1)];

/// A row of the study's table of values.
struct Row(&'static str, Role, usize, usize, f64, u64);

use Role::{Intermediate, Probe, Target};

/// Task, role, searched set, batch, maximum epochs, steps between validations.
///
/// Source: Pruksachatkun et al. 2020, as its authors' configuration files have it; for the tasks of the catalogue.
const TABLE: [Row; 18] = [
    Row("commonsenseqa", Intermediate, 6, 4, 10.0, 5000),
    Row("scitail", Intermediate, 4, 4, 10.0, 5000),
    Row("socialiqa", Intermediate, 0, 4, 10.0, 5000),
    Row("hellaswag", Intermediate, 6, 4, 10.0, 5000),
    Row("sst2", Intermediate, 7, 64, 10.0, 5000),
    Row("qqp", Intermediate, 5, 8, 10.0, 5000),
    Row("mnli", Intermediate, 6, 4, 10.0, 5000),
    Row("cb", Target, 2, 4, 40.0, 60),
    Row("copa", Target, 5, 32, 40.0, 100),
    Row("rte", Target, 4, 4, 10.0, 625),
    Row("boolq", Target, 7, 4, 10.0, 2400),
    Row("commonsenseqa", Target, 6, 4, 10.0, 2500),
    Row("cola", Probe, 5, 4, 10.0, 5000),
    Row("aj-wh", Probe, 3, 4, 10.0, 416),
    Row("aj-def", Probe, 0, 4, 10.0, 101),
    Row("aj-coord", Probe, 1, 4, 10.0, 91),
    Row("aj-eos", Probe, 3, 4, 10.0, 95),
    // The study has no MNLI target. A target of this size is validated as often as the study's largest tasks.
    Row("mnli", Target, 6, 4, 10.0, 5000),
];

/// The study's values. A task that the study did not use in this role has the values of its other role; stage 1 always
/// has 10 epochs and intervals of 5,000 steps.
fn acl2020(task: &str, role: Role) -> Option<Values> {
    let of_task = || TABLE.iter().filter(|row| row.0 == task);
    let Row(_, found, set, batch_size, epochs, steps) = of_task().find(|row| row.1 == role).or(of_task().next())?;
    let (epochs, steps) = match role {
        // Stage 1 of the study has one budget for all tasks.
        Intermediate if *found != Intermediate => (10.0, 5000),
        Intermediate | Target | Probe => (*epochs, *steps),
    };
    let at_most = match role {
        Intermediate => 10_000,
        Target | Probe => 1000,
    };
    let (learning_rate, dropout) = SEARCHED[*set];
    Some(Values {
        head: HeadKind::Linear,
        optimizer: Optimizer::BertAdam,
        learning_rate,
        // 1e-6 and the norm of 1 for each tensor are BertAdam's own defaults; 5 is the global limit that the study set.
        adam_epsilon: 1e-6,
        max_grad_norm: 5.0,
        max_tensor_norm: 1.0,
        classifier_dropout: Some(dropout),
        batch_size: *batch_size,
        length: Length::Intervals { epochs, steps, at_most },
        pieces: Pieces::Apart,
        patience: Some(20),
        selection_examples: Some(5000),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Recipe;

    /// Task, role, training examples that the study counted; then learning rate, dropout, batch, maximum epochs, steps
    /// between validations, and the steps T that follow from its rule (docs/decisions/acl2020.md).
    type Published = (&'static str, Role, usize, f64, f64, usize, f64, u64, u64);
    const PUBLISHED: [Published; 17] = [
        ("commonsenseqa", Intermediate, 9741, 3e-6, 0.2, 4, 10.0, 5000, 25_000),
        ("scitail", Intermediate, 23_596, 5e-6, 0.2, 4, 10.0, 5000, 60_000),
        ("socialiqa", Intermediate, 33_410, 2e-5, 0.2, 4, 10.0, 5000, 85_000),
        ("hellaswag", Intermediate, 39_905, 3e-6, 0.2, 4, 10.0, 5000, 100_000),
        ("sst2", Intermediate, 67_349, 3e-6, 0.1, 64, 10.0, 5000, 15_000),
        ("qqp", Intermediate, 363_846, 5e-6, 0.1, 8, 10.0, 5000, 455_000),
        ("mnli", Intermediate, 392_702, 3e-6, 0.2, 4, 10.0, 5000, 985_000),
        ("cb", Target, 250, 1e-5, 0.2, 4, 40.0, 60, 2520),
        ("copa", Target, 400, 5e-6, 0.1, 32, 40.0, 100, 600),
        ("rte", Target, 2490, 5e-6, 0.2, 4, 10.0, 625, 6250),
        ("boolq", Target, 9427, 3e-6, 0.1, 4, 10.0, 2400, 24_000),
        ("commonsenseqa", Target, 9741, 3e-6, 0.2, 4, 10.0, 2500, 25_000),
        ("cola", Probe, 8551, 5e-6, 0.1, 4, 10.0, 5000, 25_000),
        ("aj-wh", Probe, 432, 1e-5, 0.1, 4, 10.0, 416, 1248),
        ("aj-def", Probe, 404, 2e-5, 0.2, 4, 10.0, 101, 1010),
        ("aj-coord", Probe, 332, 2e-5, 0.1, 4, 10.0, 91, 910),
        ("aj-eos", Probe, 382, 1e-5, 0.1, 4, 10.0, 95, 1045),
    ];

    fn config() -> EncoderConfig {
        let golden = stepstone_fixtures::encoder("bert");
        let mut config = EncoderConfig::read(&golden).expect("a config");
        config.embeddings.max_position_embeddings = 512;
        config
    }

    fn resolve(name: &str, role: Role, train: usize) -> Recipe {
        let task = stepstone_tasks::find(name).expect("a task");
        Recipe::resolve(Preset::Acl2020, &config(), (task, role), train, &[]).expect("resolves")
    }

    #[test]
    fn acl2020_resolves_to_the_study_s_table_for_every_task_of_the_catalogue() {
        for (name, role, train, learning_rate, dropout, batch, epochs, interval, total) in PUBLISHED {
            let r = resolve(name, role, train);
            let got = (
                r.optimization.learning_rate,
                r.classifier_dropout,
                r.schedule.batch_size,
                r.schedule.total_steps / r.selection.evaluations,
                r.schedule.total_steps,
            );
            assert_eq!(got, (learning_rate, Some(dropout), batch, interval, total), "{name} as {role}");
            assert!(
                r.schedule.total_steps as f64 >= epochs * (train.div_ceil(batch)) as f64,
                "{name} as {role}: {epochs} epochs"
            );
            let common = (
                r.head,
                r.optimization.optimizer,
                r.optimization.weight_decay,
                r.optimization.adam_epsilon,
                r.optimization.max_grad_norm,
                r.optimization.max_tensor_norm,
            );
            assert_eq!(common, (HeadKind::Linear, Optimizer::BertAdam, 0.01, 1e-6, 5.0, 1.0), "{name} as {role}");
            let selection =
                (r.inputs.pieces, r.inputs.max_length, r.selection.patience, r.selection.selection_examples);
            assert_eq!(selection, (Pieces::Apart, 256, Some(20), Some(5000)), "{name} as {role}");
        }
        let tasks: std::collections::BTreeSet<&str> = PUBLISHED.iter().map(|row| row.0).collect();
        assert_eq!(tasks, stepstone_tasks::tasks().map(|task| task.name).collect(), "a row for every task");
    }

    #[test]
    fn a_task_in_a_role_that_the_study_did_not_give_it_keeps_its_values_but_not_its_length() {
        let (target, stop) = (resolve("rte", Target, 2490), resolve("rte", Intermediate, 2490));
        assert_eq!(
            (stop.optimization.learning_rate, stop.schedule.batch_size),
            (target.optimization.learning_rate, target.schedule.batch_size)
        );
        assert_eq!((stop.schedule.total_steps, stop.selection.evaluations), (10_000, 2));
    }

    /// The rate is 0 at step 0, peaks where the warm-up ends (even between two steps), and is 0 after the last step.
    #[test]
    fn the_learning_rate_of_bert_adam_is_that_of_its_real_valued_schedule() {
        let r = resolve("aj-eos", Probe, 382);
        let share = |step: u64| r.learning_rate_at(step) / r.optimization.learning_rate;
        for (step, want) in [(0, 0.0), (104, 104.0 / 104.5), (105, 940.0 / 940.5), (1045, 0.0)] {
            assert!((share(step) - want).abs() < 1e-15, "step {step}: {} and {want}", share(step));
        }
    }
}
