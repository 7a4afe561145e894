//! The score table: one row per restart of an intermediate task, one column per target and probe.

use crate::input::{Observations, Outcome, RunScore};
use crate::observation::Role;
use crate::options::Mode;

/// Scores of a study without its baseline.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ScoreTable {
    /// Names of the intermediate tasks that have a row, sorted bytewise.
    pub intermediates: Vec<String>,
    /// The rows, sorted by intermediate and seed; each has at least one score.
    pub rows: Vec<ScoreRow>,
    /// Targets, then probes; each sorted bytewise by name.
    pub columns: Vec<ScoreColumn>,
}

/// One restart of one intermediate task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ScoreRow {
    /// Index into [`ScoreTable::intermediates`].
    pub intermediate: u32,
    /// The restart.
    pub seed: i64,
}

/// The scores of one task.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ScoreColumn {
    /// Name of the task.
    pub task: String,
    /// [`Role::Target`] or [`Role::Probe`].
    pub role: Role,
    /// Points, signed so that more is better: `[rows]`. `None` where the row has no score that counts.
    pub scores: Vec<Option<f64>>,
}

impl ScoreTable {
    /// Collects the scores that count under `mode`; `baseline` is the name that is not an intermediate task.
    pub(crate) fn new(study: &Observations, baseline: &str, mode: Mode) -> Self {
        // The baseline has no row: it would be a cluster of another kind among the intermediates.
        let base = study.intermediates.iter().position(|name| name == baseline).map(|index| index as u32);
        let counts = |run: &RunScore| match run.outcome {
            Outcome::Clean => true,
            Outcome::Degenerate(_) => mode == Mode::Keep,
            Outcome::Unusable => false,
        };
        let tasks: Vec<usize> = (0..study.tasks.len()).filter(|&t| study.tasks[t].role != Role::Intermediate).collect();
        let runs: Vec<Vec<&RunScore>> = tasks
            .iter()
            .map(|&task| {
                runs_of(study, task).iter().filter(|run| Some(run.intermediate) != base && counts(run)).collect()
            })
            .collect();
        let keys = row_keys(&runs);
        let columns = tasks.iter().zip(&runs).map(|(&task, runs)| column(study, task, runs, &keys)).collect();
        let (intermediates, rows) = name_rows(study, &keys);
        Self { intermediates, rows, columns }
    }

    /// The table without the rows of some intermediates.
    pub(crate) fn without(&self, left_out: &[&str]) -> Self {
        // Rows are renumbered, since later code takes the names as numbered without gaps.
        let stays: Vec<bool> = self.intermediates.iter().map(|name| !left_out.contains(&name.as_str())).collect();
        let number = |intermediate: u32| stays[..intermediate as usize].iter().filter(|stays| **stays).count() as u32;
        let kept: Vec<usize> =
            (0..self.rows.len()).filter(|&row| stays[self.rows[row].intermediate as usize]).collect();
        let rows =
            kept.iter().map(|&row| ScoreRow { intermediate: number(self.rows[row].intermediate), ..self.rows[row] });
        let of_column = |column: &ScoreColumn| ScoreColumn {
            scores: kept.iter().map(|&row| column.scores[row]).collect(),
            ..column.clone()
        };
        Self {
            intermediates: self
                .intermediates
                .iter()
                .zip(&stays)
                .filter(|(_, s)| **s)
                .map(|(name, _)| name.clone())
                .collect(),
            rows: rows.collect(),
            columns: self.columns.iter().map(of_column).collect(),
        }
    }
}

/// The runs of one task; `Observations::runs` is sorted by task first.
fn runs_of(study: &Observations, task: usize) -> &[RunScore] {
    let start = study.runs.partition_point(|run| (run.task as usize) < task);
    let end = study.runs.partition_point(|run| (run.task as usize) <= task);
    &study.runs[start..end]
}

/// (intermediate, seed) of every run, sorted, each once. Tasks mostly have the same rows, so only new ones are sorted in.
fn row_keys(runs: &[Vec<&RunScore>]) -> Vec<(u32, i64)> {
    let mut keys: Vec<(u32, i64)> = Vec::new();
    for runs in runs {
        // Both lists are sorted, so that one walk finds for each run whether its row is known.
        let mut at = 0;
        let known = keys.len();
        for run in runs {
            let key = (run.intermediate, run.seed);
            at += keys[at..known].iter().take_while(|have| **have < key).count();
            if at == known || keys[at] != key {
                keys.push(key);
            }
        }
        keys.sort_unstable();
    }
    keys
}

fn column(study: &Observations, task: usize, runs: &[&RunScore], keys: &[(u32, i64)]) -> ScoreColumn {
    let task = &study.tasks[task];
    let mut runs = runs.iter().peekable();
    let score =
        |key: &(u32, i64)| runs.next_if(|run| (run.intermediate, run.seed) == *key).map(|run| task.sign() * run.points);
    ScoreColumn { task: task.name.clone(), role: task.role, scores: keys.iter().map(score).collect() }
}

/// Numbers the intermediates that have rows from 0.
fn name_rows(study: &Observations, keys: &[(u32, i64)]) -> (Vec<String>, Vec<ScoreRow>) {
    let (mut names, mut rows, mut last) = (Vec::new(), Vec::with_capacity(keys.len()), None);
    for &(intermediate, seed) in keys {
        if last != Some(intermediate) {
            names.push(study.intermediates[intermediate as usize].clone());
            last = Some(intermediate);
        }
        rows.push(ScoreRow { intermediate: names.len() as u32 - 1, seed });
    }
    (names, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_leave_out_the_baseline_and_what_does_not_count() {
        let text = "intermediate,seed,task,role,score,status,degenerate,higher_is_better\n\
            mnli,1,rte,target,70,ok,,\n\
            mnli,0,rte,target,71,ok,true,\n\
            none,0,rte,target,60,ok,,\n\
            qqp,0,rte,target,,failed,,\n\
            sst2,3,loss,probe,2.5,ok,,false\n\
            sst2,3,sst2,intermediate,90,ok,,\n";
        let study = crate::input::parse("x.csv", text.as_bytes()).unwrap().studies.remove(0);
        let keep = ScoreTable::new(&study, "none", Mode::Keep);
        assert_eq!(keep.intermediates, ["mnli", "sst2"]);
        let row = |intermediate, seed| ScoreRow { intermediate, seed };
        assert_eq!(keep.rows, [row(0, 0), row(0, 1), row(1, 3)]);
        assert_eq!(keep.columns[0].scores, [Some(71.0), Some(70.0), None]);
        assert_eq!(keep.columns[1].scores, [None, None, Some(-2.5)]);
        assert_eq!((keep.columns[1].task.as_str(), keep.columns[1].role), ("loss", Role::Probe));
        let drop = ScoreTable::new(&study, "none", Mode::Drop);
        assert_eq!(drop.rows, [row(0, 1), row(1, 3)]);
        assert_eq!(drop.columns[0].scores, [Some(70.0), None]);
        let rest = keep.without(&["mnli"]);
        assert_eq!((rest.intermediates, rest.rows), (vec!["sst2".to_owned()], vec![row(0, 3)]));
        assert_eq!(rest.columns[1].scores, [Some(-2.5)]);
    }
}
