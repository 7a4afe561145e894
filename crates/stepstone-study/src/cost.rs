//! Estimates how long a study takes: seconds of each run, and of all runs on a number of slots.

use crate::error::StudyError;
use crate::plan::{Plan, PlannedTask};
use crate::slots::Slots;
use crate::store::Store;
use std::time::Duration;
use stepstone_train::{Rates, Run, RunFolder};

/// Seconds that a run takes besides steps and evaluations, for its process, data and files. Assumed, not measured: it
/// matters only for runs of a few seconds.
const OVERHEAD: f64 = 0.5;
/// How long a calibration trains.
const CALIBRATION: Duration = Duration::from_secs(3);

/// Seconds per token, and where the numbers come from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Seconds per token.
    pub rates: Rates,
    /// Where the numbers come from.
    pub source: CostSource,
}

/// Where an estimate comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CostSource {
    /// This many finished runs of the study with the same threads.
    FinishedRuns(usize),
    /// A few seconds of training.
    Calibration,
}

impl Cost {
    /// Measures the cost from the finished runs of the study, otherwise from a few seconds of training one of its runs.
    ///
    /// # Errors
    /// If a calibration is needed and its run cannot be prepared.
    pub fn measure(plan: &Plan, store: &Store, threads: usize) -> Result<Self, StudyError> {
        let finished = plan.runs.iter().map(|run| store.folder(&run.record.id));
        if let Some((rates, runs)) = from_timings(finished, threads) {
            return Ok(Self { rates, source: CostSource::FinishedRuns(runs) });
        }
        // The task with the most tokens dominates the total time, so its rates matter most.
        let work = |task: &PlannedTask| task.recipe.schedule.total_steps as f64 * task.lengths.train;
        let from_encoder = plan.runs.iter().filter(|run| run.parent.is_none());
        let run = from_encoder.max_by(|a, b| work(&plan.tasks[a.task]).total_cmp(&work(&plan.tasks[b.task])));
        let rates = match run {
            Some(run) => Run::prepare(&plan.request(run, threads))?.measure(CALIBRATION)?,
            // Every chain of runs begins at the encoder, so a plan without such a run is empty.
            None => Rates { training: 0.0, evaluation: 0.0 },
        };
        Ok(Self { rates, source: CostSource::Calibration })
    }

    /// Seconds of one run.
    pub fn seconds(&self, task: &PlannedTask) -> f64 {
        let recipe = &task.recipe;
        let examples = (recipe.schedule.total_steps * recipe.schedule.batch_size.min(task.n_train) as u64) as f64;
        let scored = (recipe.selection.evaluations + 1) as f64 * task.n_dev as f64; // the best weights are scored once more
        OVERHEAD
            + examples * task.lengths.train * self.rates.training
            + scored * task.lengths.dev * self.rates.evaluation
    }

    /// Seconds until all runs that are not `settled` are done, if each slot always takes the next ready run.
    pub fn wall_seconds(&self, plan: &Plan, settled: &[bool], slots: Slots) -> f64 {
        let mut ends: Vec<Option<f64>> = settled.iter().map(|done| done.then_some(0.0)).collect();
        let mut free = vec![0.0_f64; slots.count.max(1)];
        while ends.iter().any(Option::is_none) {
            // The slot that is free first takes the run that can start first, as workers do.
            let slot = (0..free.len()).min_by(|a, b| free[*a].total_cmp(&free[*b])).unwrap_or(0);
            let start = |run: usize| {
                let ready = plan.runs[run].parent.map_or(Some(0.0), |parent| ends[parent])?;
                Some(ready.max(free[slot]))
            };
            let open = (0..ends.len()).filter(|run| ends[*run].is_none());
            let next = open.filter_map(|run| Some((run, start(run)?))).min_by(|a, b| a.1.total_cmp(&b.1));
            let Some((run, start)) = next else { break };
            let end = start + self.seconds(&plan.tasks[plan.runs[run].task]);
            (free[slot], ends[run]) = (end, Some(end));
        }
        ends.into_iter().flatten().fold(0.0, f64::max)
    }
}

/// Mean cost of a token over the finished runs with this number of threads, and the number of these runs.
fn from_timings(folders: impl Iterator<Item = RunFolder>, threads: usize) -> Option<(Rates, usize)> {
    let timings = folders.filter(|folder| matches!(folder.scores(), Ok(Some(_)))).filter_map(|f| f.timing().ok()?);
    let (mut runs, mut training, mut evaluation) = (0, (0.0, 0), (0.0, 0));
    for timing in timings.filter(|timing| timing.threads == threads && timing.tokens > 0) {
        runs += 1;
        // Seconds and tokens are summed, so that a long run counts for more than a short one.
        training = (training.0 + timing.step_seconds, training.1 + timing.tokens);
        evaluation = (evaluation.0 + timing.evaluation_seconds, evaluation.1 + timing.evaluation_tokens);
    }
    let rate = |(seconds, tokens): (f64, u64)| seconds / tokens.max(1) as f64;
    (runs > 0).then(|| (Rates { training: rate(training), evaluation: rate(evaluation) }, runs))
}
