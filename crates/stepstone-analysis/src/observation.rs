//! One line of observations.csv: its 25 columns, and the writer that fixes their order and form.

use std::cmp::Ordering;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::column::Column;

/// The part that a task plays in a study.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A task whose score one wants to raise.
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
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// Name of the study.
    pub study: String,
    /// Id of the run; the metrics of one run share it.
    pub run_id: String,
    /// Name of the pretrained encoder.
    pub encoder: String,
    /// The intermediate task, or the baseline's name `none`.
    pub intermediate: String,
    /// The restart; (intermediate, seed) is a row of the score table.
    pub seed: i64,
    /// The task that was scored.
    pub task: String,
    /// Role of the task.
    pub role: Role,
    /// Name of the metric; `accuracy` switches on the rounding floor of the variances.
    pub metric: String,
    /// Exactly one metric of a (run, task) is primary.
    pub primary: bool,
    /// In the metric's own scale (accuracy 0..1).
    pub score: Option<f64>,
    /// Points = score x scale.
    pub scale: Option<f64>,
    /// False for losses and distances.
    pub higher_is_better: bool,
    /// Training examples of the task.
    pub n_train: Option<u64>,
    /// Examples that were scored.
    pub n_dev: Option<u64>,
    /// Number of classes; classification only.
    pub n_classes: Option<u64>,
    /// Score of always answering the commonest label, in the metric's own scale.
    pub majority_score: Option<f64>,
    /// Training examples of the intermediate task; 0 for the baseline.
    pub n_intermediate: Option<u64>,
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
    /// How the run ended.
    pub status: Status,
    /// Wall time of the run; empty in our own files, so that a resumed study has the same bytes.
    pub wall_seconds: Option<f64>,
    /// Hash of the recipe.
    pub recipe: String,
}

impl Observation {
    /// A finished run with the five required columns set; the other columns are empty or at their defaults.
    pub fn new(intermediate: &str, seed: i64, task: &str, role: Role, score: f64) -> Self {
        Self {
            study: String::new(),
            run_id: String::new(),
            encoder: String::new(),
            intermediate: intermediate.to_owned(),
            seed,
            task: task.to_owned(),
            role,
            metric: String::new(),
            primary: true,
            score: Some(score),
            scale: None,
            higher_is_better: true,
            n_train: None,
            n_dev: None,
            n_classes: None,
            majority_score: None,
            n_intermediate: None,
            steps: None,
            final_train_loss: None,
            n_distinct_pred: None,
            degenerate: None,
            degenerate_reason: String::new(),
            status: Status::Ok,
            wall_seconds: None,
            recipe: String::new(),
        }
    }

    /// Bytewise by role, task, intermediate, seed (as text) and metric; then by what is left, so that any input order
    /// gives the same bytes.
    fn order(&self, other: &Self) -> Ordering {
        let key = |o: &Self| (o.role.name(), o.seed.to_string());
        let ((role, seed), (other_role, other_seed)) = (key(self), key(other));
        // By the words, not by the variants: other programs that sort the file as text get the same order.
        role.cmp(other_role)
            .then_with(|| self.task.cmp(&other.task))
            .then_with(|| self.intermediate.cmp(&other.intermediate))
            .then_with(|| seed.cmp(&other_seed))
            .then_with(|| self.metric.cmp(&other.metric))
            .then_with(|| {
                (&self.study, &self.encoder, &self.run_id).cmp(&(&other.study, &other.encoder, &other.run_id))
            })
    }

    fn fields(&self) -> [String; Column::COUNT] {
        [
            self.study.clone(),
            self.run_id.clone(),
            self.encoder.clone(),
            self.intermediate.clone(),
            self.seed.to_string(),
            self.task.clone(),
            self.role.name().to_owned(),
            self.metric.clone(),
            self.primary.to_string(),
            number(self.score),
            number(self.scale),
            self.higher_is_better.to_string(),
            number(self.n_train),
            number(self.n_dev),
            number(self.n_classes),
            number(self.majority_score),
            number(self.n_intermediate),
            number(self.steps),
            number(self.final_train_loss),
            number(self.n_distinct_pred),
            number(self.degenerate),
            self.degenerate_reason.clone(),
            self.status.name().to_owned(),
            number(self.wall_seconds),
            self.recipe.clone(),
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
    value.map_or_else(String::new, |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_sorted_bytewise_and_numbers_are_shortest() {
        let mut second = Observation::new("none", 2, "rte", Role::Target, 0.1 + 0.2);
        second.n_dev = Some(277);
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
}
