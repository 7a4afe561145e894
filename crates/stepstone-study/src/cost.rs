//! Estimates how long a study takes: seconds of each run, and of all runs on a number of slots.

use crate::error::StudyError;
use crate::plan::{Plan, PlannedTask};
use crate::slots::Slots;
use crate::store::Store;
use std::time::Duration;
use stepstone_train::{Rates, Run, RunFolder};

/// Seconds that a run takes besides steps and evaluations, for its process, data and files. This is assumed, not
/// measured, and matters only for runs of a few seconds.
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
        // One more than planned, because the best weights are scored again at the end.
        let scored = (recipe.selection.evaluations + 1) as f64 * task.n_dev as f64;
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
            // No plan has runs that wait for each other, but if one did, this would be an endless loop.
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
    // A run that was resumed after its last step has timed no step.
    for timing in timings.filter(|timing| timing.threads == threads && timing.tokens > 0) {
        runs += 1;
        // Seconds and tokens are summed, so that a long run counts for more than a short one.
        training = (training.0 + timing.step_seconds, training.1 + timing.tokens);
        evaluation = (evaluation.0 + timing.evaluation_seconds, evaluation.1 + timing.evaluation_tokens);
    }
    let rate = |(seconds, tokens): (f64, u64)| seconds / tokens.max(1) as f64;
    (runs > 0).then(|| (Rates { training: rate(training), evaluation: rate(evaluation) }, runs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::plan;
    use proptest::prelude::*;
    use std::fs;
    use std::path::Path;

    const FREE: Cost = Cost { rates: Rates { training: 0.0, evaluation: 0.0 }, source: CostSource::FinishedRuns(1) };
    const SCORES: &str = "{\"format\": 1, \"run_id\": \"r\", \"task\": \"rte\", \"scores\": [], \"parts\": [], \
        \"n_train\": 1, \"n_dev\": 1, \"n_classes\": 2, \"majority_score\": 0.5, \"steps\": 1, \"best_step\": 1, \
        \"final_train_loss\": 0.5, \"n_distinct_pred\": 1}";

    fn slots(count: usize) -> Slots {
        Slots { count, threads: 1 }
    }

    #[test]
    fn a_run_costs_the_tokens_of_its_steps_and_of_one_evaluation_more_than_planned() {
        let plan = plan("", "evaluations = 2\nbatch_size = 4");
        let mut task = plan.tasks[2].clone();
        (task.lengths.train, task.lengths.dev) = (10.0, 5.0);
        let cost = Cost { rates: Rates { training: 0.5, evaluation: 0.25 }, ..FREE };
        // 7 steps of 4 examples of 10 tokens; 2 evaluations and the last of 4 examples of 5 tokens.
        let want = OVERHEAD + 7.0 * 4.0 * 10.0 * 0.5 + 3.0 * 4.0 * 5.0 * 0.25;
        assert!((cost.seconds(&task) - want).abs() < 1e-9, "{} and {want}", cost.seconds(&task));
        task.recipe.schedule.batch_size = 1000; // no step sees more than the 8 examples that there are
        let want = want + 7.0 * 4.0 * 10.0 * 0.5;
        assert!((cost.seconds(&task) - want).abs() < 1e-9, "{} and {want}", cost.seconds(&task));
    }

    #[test]
    fn rates_are_means_over_tokens_of_finished_runs_with_as_many_threads() {
        let place = tempfile::tempdir().expect("folder");
        let folder = |name: &str, finished: bool, threads: usize, seconds: f64, tokens: u64| {
            let path = place.path().join(name);
            fs::create_dir_all(&path).expect("folder");
            let timing = format!(
                "{{\"format\": 1, \"threads\": {threads}, \"steps\": 1, \"step_seconds\": {seconds}, \"tokens\": {tokens}, \
                 \"evaluations\": 1, \"evaluation_seconds\": {seconds}, \"evaluation_tokens\": {}, \"activation_bytes\": 1}}",
                2 * tokens
            );
            fs::write(path.join("timing.json"), timing).expect("file");
            if finished {
                fs::write(path.join("scores.json"), SCORES).expect("file");
            }
        };
        folder("a", true, 1, 3.0, 100);
        folder("b", true, 1, 1.0, 300);
        folder("other threads", true, 2, 9.0, 9);
        folder("unfinished", false, 1, 9.0, 9);
        folder("all resumed at its end", true, 1, 0.0, 0);
        let all = || ["a", "b", "other threads", "unfinished", "all resumed at its end", "absent"];
        let folders = |names: &[&str]| {
            names.iter().map(|name| RunFolder::new(&place.path().join(Path::new(name)))).collect::<Vec<_>>()
        };
        let (rates, runs) = from_timings(folders(&all()).into_iter(), 1).expect("two runs");
        assert_eq!((rates, runs), (Rates { training: 0.01, evaluation: 0.005 }, 2));
        assert_eq!(from_timings(folders(&["unfinished", "absent"]).into_iter(), 1), None);
    }

    #[test]
    fn children_wait_for_their_parents_and_slots_for_nobody() {
        // Every run takes the overhead alone: 4 intermediates, 3 of the baseline, 4 children.
        let plan = plan("", "");
        let mut settled = vec![false; plan.runs.len()];
        assert_eq!(plan.runs.len(), 11);
        let rounds = |settled: &[bool], count| FREE.wall_seconds(&plan, settled, slots(count)) / OVERHEAD;
        assert_eq!([1, 2, 4, 7, 100].map(|count| rounds(&settled, count)), [11.0, 6.0, 3.0, 2.0, 2.0]);
        settled[..4].fill(true);
        assert_eq!([1, 7].map(|count| rounds(&settled, count)), [7.0, 1.0], "all parents are done");
        settled.fill(true);
        assert_eq!(rounds(&settled, 1), 0.0);
    }

    proptest! {
        /// Greedy scheduling of runs that wait for at most one other: Graham 1966 bounds it from above.
        #[test]
        fn the_whole_takes_no_less_than_the_work_and_the_longest_chain_and_no_more_than_both(
            lengths in prop::collection::vec(1.0..50.0f64, 3), count in 1..9usize
        ) {
            let mut plan = plan("", "");
            for (task, length) in plan.tasks.iter_mut().zip(&lengths) {
                task.lengths.train = *length;
            }
            let cost = Cost { rates: Rates { training: 0.1, evaluation: 0.0 }, ..FREE };
            let seconds = |run: usize| cost.seconds(&plan.tasks[plan.runs[run].task]);
            let work: f64 = (0..plan.runs.len()).map(seconds).sum();
            let chain = |run: usize| seconds(run) + plan.runs[run].parent.map_or(0.0, seconds);
            let longest = (0..plan.runs.len()).map(chain).fold(0.0, f64::max);
            let wall = cost.wall_seconds(&plan, &vec![false; plan.runs.len()], slots(count));
            let work = work / count as f64;
            prop_assert!(wall >= work.max(longest) - 1e-9, "{} below {} and {}", wall, work, longest);
            prop_assert!(wall <= work + longest + 1e-9, "{} above {} and {}", wall, work, longest);
        }
    }
}
