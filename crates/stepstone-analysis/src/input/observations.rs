//! A checked observations file: the tasks, intermediates and runs of each (study, encoder).

use crate::observation::Role;

/// A checked observations file.
#[derive(Debug, Clone, PartialEq)]
pub struct ObservationsFile {
    /// One per (study, encoder), sorted bytewise by both.
    pub studies: Vec<Observations>,
    /// Remarks about the file as a whole, as sentences.
    pub notes: Vec<String>,
}

/// The runs of one study with one encoder.
#[derive(Debug, Clone, PartialEq)]
pub struct Observations {
    /// Name of the study; may be empty.
    pub study: String,
    /// Name of the encoder; may be empty.
    pub encoder: String,
    /// Every name in the `intermediate` column, including the baseline's, sorted bytewise.
    pub intermediates: Vec<String>,
    /// Training examples of each of `intermediates`, if the file gives them.
    pub sizes: Vec<Option<f64>>,
    /// Targets, then probes, then tasks scored as intermediates; each sorted bytewise. A name may appear twice,
    /// as a target and as an intermediate.
    pub tasks: Vec<Task>,
    /// One per (task, intermediate, seed), sorted in this order.
    pub runs: Vec<RunScore>,
    /// Number of primary lines, repeated lines counted once.
    pub lines: usize,
    /// Remarks about the study, as sentences.
    pub notes: Vec<String>,
}

/// A task of a study.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// Its primary metric; may be empty.
    pub metric: String,
    /// True if more is better.
    pub higher_is_better: bool,
    /// Points = score x scale.
    pub scale: f64,
    /// What one dev example is worth in points (of several dev sizes, the smallest set's) where the metric is `accuracy` and `n_dev` is known, else 0.
    pub step: f64,
    /// Training examples, if the file gives them.
    pub n_train: Option<f64>,
}

impl Task {
    /// +1 if more is better, else -1.
    pub fn sign(&self) -> f64 {
        if self.higher_is_better { 1.0 } else { -1.0 }
    }
}

/// One run: a restart of one intermediate on one task.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RunScore {
    /// Index into [`Observations::tasks`].
    pub task: u32,
    /// Index into [`Observations::intermediates`].
    pub intermediate: u32,
    /// Seed of this restart.
    pub seed: i64,
    /// Score x scale; 0 where the run is not usable.
    pub points: f64,
    /// How the run ended.
    pub outcome: Outcome,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A score, and no sign that the run learnt nothing.
    Clean,
    /// A score, but the run learnt nothing.
    Degenerate(Reason),
    /// No score that can be used: the run failed or its score is missing.
    Unusable,
}

/// The rule by which a run counts as degenerate; the first that fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    // In the order in which the rules are tried: what the predictions show first, since a low score alone proves less.
    /// The runner said so.
    Runner,
    /// One label for every example.
    Constant,
    /// Predictions unknown; score at most one example above always answering the most common label.
    Majority,
    /// Training loss near or above ln k, k the number of classes, and a score near that of the most common label.
    Loss,
}

impl Reason {
    /// Its name in the output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Runner => "runner",
            Self::Constant => "constant",
            Self::Majority => "majority",
            Self::Loss => "loss",
        }
    }
}
