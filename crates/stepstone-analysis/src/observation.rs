//! One line of observations.csv: its 25 columns, and the writer that fixes their order and form.

use std::cmp::Ordering;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::column::Column;

/// The part that a task plays in a study.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A task whose score is to be raised.
    Target,
    /// A task that measures a skill.
    Probe,
    /// A task that is trained on the way; its own scores enter no map.
    Intermediate,
}

impl Role {
    /// The word in the `role` column.
    pub fn name(self) -> &'static str {
        match self {
            Self::Target => "target",
            Self::Probe => "probe",
            Self::Intermediate => "intermediate",
        }
    }

    /// Reads the word in the `role` column.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Target, Self::Probe, Self::Intermediate].into_iter().find(|role| role.name() == word)
    }
}

/// How a run ended. Only `Ok` with a finite score is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// The run finished and was scored.
    Ok,
    /// The run ended with an error.
    Failed,
    /// The run was stopped because its time was up.
    Timeout,
    /// The run is not finished yet.
    Running,
    /// The run was planned and never started.
    Missing,
}

impl Status {
    /// The word in the `status` column.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::Running => "running",
            Self::Missing => "missing",
        }
    }

    /// Reads the word in the `status` column.
    pub fn parse(word: &str) -> Option<Self> {
        let all = [Self::Ok, Self::Failed, Self::Timeout, Self::Running, Self::Missing];
        all.into_iter().find(|status| status.name() == word)
    }
}

/// One (run, metric): the score of one restart of one start point on one task. Empty text and `None` are empty cells.
///
/// The groups are for readers of the code; the file is flat, and its columns have the order of the private enum `Column`.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// Where the line comes from.
    pub origin: Origin,
    /// The intermediate task, or the baseline's name `none`.
    pub intermediate: String,
    /// The restart; (intermediate, seed) is a row of the score table.
    pub seed: i64,
    /// The task that was scored.
    pub task: String,
    /// Role of the task.
    pub role: Role,
    /// In the metric's own scale (accuracy 0..1).
    pub score: Option<f64>,
    /// How to read the score.
    pub scoring: Scoring,
    /// Sizes of the task and of the intermediate task.
    pub sizes: Sizes,
    /// Facts about the training.
    pub training: TrainingFacts,
    /// How the run ended.
    pub status: Status,
}

/// Study, run, encoder and recipe of an observation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// Name of the study.
    pub study: String,
    /// Id of the run; the metrics of one run share it.
    pub run_id: String,
    /// Name of the pretrained encoder.
    pub encoder: String,
    /// Hash of the recipe.
    pub recipe: String,
}

/// The metric of a score and how it turns into points.
#[derive(Debug, Clone, PartialEq)]
pub struct Scoring {
    /// Name of the metric; `accuracy` switches on the rounding floor of the variances.
    pub metric: String,
    /// Exactly one metric of a (run, task) is primary.
    pub primary: bool,
    /// Points = score x scale.
    pub scale: Option<f64>,
    /// False for losses and distances.
    pub higher_is_better: bool,
}

impl Default for Scoring {
    /// What an empty cell means: the only metric, and higher is better.
    fn default() -> Self {
        Self { metric: String::new(), primary: true, scale: None, higher_is_better: true }
    }
}

/// How much data a score rests on, and the score of guessing.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sizes {
    /// Training examples of the task.
    pub n_train: Option<u64>,
    /// Examples that were scored.
    pub n_dev: Option<u64>,
    /// Number of classes; classification only.
    pub n_classes: Option<u64>,
    /// Score of always answering the most common label, in the metric's own scale.
    pub majority_score: Option<f64>,
    /// Training examples of the intermediate task; 0 for the baseline.
    pub n_intermediate: Option<u64>,
}

/// Facts about the training, by which degenerate runs are found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TrainingFacts {
    /// Optimizer steps taken.
    pub steps: Option<u64>,
    /// Mean over the last tenth of the steps, in nats.
    pub final_train_loss: Option<f64>,
    /// Number of different labels predicted on the dev set.
    pub n_distinct_pred: Option<u64>,
    /// The runner's own flag.
    pub degenerate: Option<bool>,
    /// Free text beside the flag.
    pub degenerate_reason: String,
    /// Wall time of the run; empty in our own files, so that a resumed study has the same bytes.
    pub wall_seconds: Option<f64>,
}

impl Observation {
    /// A finished run with the five required columns set; the other columns are empty or at their defaults.
    pub fn new(intermediate: &str, seed: i64, task: &str, role: Role, score: f64) -> Self {
        Self {
            origin: Origin::default(),
            intermediate: intermediate.to_owned(),
            seed,
            task: task.to_owned(),
            role,
            score: Some(score),
            scoring: Scoring::default(),
            sizes: Sizes::default(),
            training: TrainingFacts::default(),
            status: Status::Ok,
        }
    }

    /// Bytewise by role, task, intermediate, seed (as text) and metric; then by what is left, so that any input order
    /// gives the same bytes.
    fn order(&self, other: &Self) -> Ordering {
        let key = |o: &Self| (o.role.name(), o.seed.to_string());
        let of_origin = |origin: &Origin| [origin.study.clone(), origin.encoder.clone(), origin.run_id.clone()];
        let ((role, seed), (other_role, other_seed)) = (key(self), key(other));
        // By the words, not by the variants: other programs that sort the file as text get the same order.
        role.cmp(other_role)
            .then_with(|| self.task.cmp(&other.task))
            .then_with(|| self.intermediate.cmp(&other.intermediate))
            .then_with(|| seed.cmp(&other_seed))
            .then_with(|| self.scoring.metric.cmp(&other.scoring.metric))
            .then_with(|| of_origin(&self.origin).cmp(&of_origin(&other.origin)))
    }

    /// The cells of the line, in the order of [`Column::ALL`].
    fn fields(&self) -> [String; Column::COUNT] {
        let Self { origin, scoring, sizes, training, .. } = self;
        [
            origin.study.clone(),
            origin.run_id.clone(),
            origin.encoder.clone(),
            self.intermediate.clone(),
            self.seed.to_string(),
            self.task.clone(),
            self.role.name().to_owned(),
            scoring.metric.clone(),
            scoring.primary.to_string(),
            number(self.score),
            number(scoring.scale),
            scoring.higher_is_better.to_string(),
            number(sizes.n_train),
            number(sizes.n_dev),
            number(sizes.n_classes),
            number(sizes.majority_score),
            number(sizes.n_intermediate),
            number(training.steps),
            number(training.final_train_loss),
            number(training.n_distinct_pred),
            number(training.degenerate),
            training.degenerate_reason.clone(),
            self.status.name().to_owned(),
            number(training.wall_seconds),
            origin.recipe.clone(),
        ]
    }
}

/// Text of observations.csv: header, then one line per observation, sorted bytewise by role, task, intermediate, seed
/// and metric. Numbers are the shortest decimals that read back to the same value. The same set of observations gives
/// the same bytes in whatever order it comes.
pub fn write_observations(observations: &[Observation]) -> String {
    // Workers finish in any order; sorted, a study of the same scores always has the same bytes.
    let mut sorted: Vec<&Observation> = observations.iter().collect();
    sorted.sort_by(|a, b| a.order(b));
    let mut text = Column::ALL.map(Column::name).join(",");
    text.push('\n');
    for observation in sorted {
        for (column, field) in observation.fields().iter().enumerate() {
            if column > 0 {
                text.push(',');
            }
            push_field(&mut text, field);
        }
        text.push('\n');
    }
    text
}

/// Appends one CSV field, quoted only where RFC 4180 asks for it.
pub(crate) fn push_field(text: &mut String, field: &str) {
    if field.contains(['"', ',', '\n', '\r']) {
        // Writing to a String cannot fail.
        let _ = write!(text, "\"{}\"", field.replace('"', "\"\""));
    } else {
        text.push_str(field);
    }
}

fn number<T: ToString>(value: Option<T>) -> String {
    // Rust prints the shortest decimals that read back to the same bits; a fixed number of digits would lose some.
    value.map_or_else(String::new, |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_sorted_bytewise_and_numbers_are_shortest() {
        let mut second = Observation::new("none", 2, "rte", Role::Target, 0.1 + 0.2);
        second.sizes.n_dev = Some(277);
        let observations = [
            Observation::new("qqp, \"x\"", 10, "rte", Role::Target, 1e-7),
            second,
            Observation::new("none", 10, "rte", Role::Target, 100.0),
            Observation::new("mnli", 0, "mnli", Role::Intermediate, 0.875),
        ];
        let text = write_observations(&observations);
        insta::assert_snapshot!(text, @r#"
        study,run_id,encoder,intermediate,seed,task,role,metric,primary,score,scale,higher_is_better,n_train,n_dev,n_classes,majority_score,n_intermediate,steps,final_train_loss,n_distinct_pred,degenerate,degenerate_reason,status,wall_seconds,recipe
        ,,,mnli,0,mnli,intermediate,,true,0.875,,true,,,,,,,,,,,ok,,
        ,,,none,10,rte,target,,true,100,,true,,,,,,,,,,,ok,,
        ,,,none,2,rte,target,,true,0.30000000000000004,,true,,277,,,,,,,,,ok,,
        ,,,"qqp, ""x""",10,rte,target,,true,0.0000001,,true,,,,,,,,,,,ok,,
        "#);
        let mut reversed = observations;
        reversed.reverse();
        assert_eq!(write_observations(&reversed), text);
    }
    /// Every cell holds something else, so that two that change places show.
    #[test]
    fn each_field_is_written_under_its_own_column() {
        let full = Observation {
            origin: Origin { study: "s".into(), run_id: "id".into(), encoder: "e".into(), recipe: "hash".into() },
            scoring: Scoring { metric: "f1".into(), primary: false, scale: Some(100.0), higher_is_better: true },
            sizes: Sizes {
                n_train: Some(2490),
                n_dev: Some(277),
                n_classes: Some(2),
                majority_score: Some(0.53),
                n_intermediate: Some(392_702),
            },
            training: TrainingFacts {
                steps: Some(780),
                final_train_loss: Some(0.25),
                n_distinct_pred: Some(1),
                degenerate: Some(false),
                degenerate_reason: "none".into(),
                wall_seconds: Some(12.5),
            },
            status: Status::Timeout,
            ..Observation::new("mnli", 7, "rte", Role::Probe, 0.75)
        };
        let text = write_observations(&[full]);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
        let pairs: Vec<String> = lines[0].iter().zip(&lines[1]).map(|(name, cell)| format!("{name}={cell}")).collect();
        insta::assert_snapshot!(pairs.join(" "), @"study=s run_id=id encoder=e intermediate=mnli seed=7 task=rte role=probe metric=f1 primary=false score=0.75 scale=100 higher_is_better=true n_train=2490 n_dev=277 n_classes=2 majority_score=0.53 n_intermediate=392702 steps=780 final_train_loss=0.25 n_distinct_pred=1 degenerate=false degenerate_reason=none status=timeout wall_seconds=12.5 recipe=hash");
    }
}
