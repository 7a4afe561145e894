//! Progress of a run, for callers to show.

use crate::folder::Timing;
use crate::run::Run;
use serde::Serialize;

/// A forward pass costs a third of a step per token: the backward pass has two products for each forward product.
const STEPS_PER_FORWARD: f64 = 1.0 / 3.0;

/// Progress of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Progress {
    pub step: u64,
    pub total_steps: u64,
    pub loss: f64,
    pub learning_rate: f64,
    pub tokens_per_second: f64,
    /// Seconds for the remaining steps and evaluations, at the speed so far.
    pub seconds_left: f64,
    /// The primary score, right after an evaluation.
    pub score: Option<f64>,
}

impl Progress {
    /// Progress after `step` steps (at least one), with the times so far.
    pub(crate) fn new(run: &Run, clock: &Timing, step: u64, loss: f64, score: Option<f64>) -> Self {
        let recipe = run.recipe();
        let per_step = clock.step_seconds / clock.steps.max(1) as f64;
        let tokens_per_second = clock.tokens as f64 / clock.step_seconds.max(1e-9); // 0 after a resume
        let dev_tokens: usize = run.dev.features.iter().map(|f| f.ids.len()).sum();
        // Before the first evaluation, its cost is estimated from the speed of training.
        let per_evaluation = match clock.evaluations {
            0 => dev_tokens as f64 / tokens_per_second * STEPS_PER_FORWARD,
            n => clock.evaluation_seconds / n as f64,
        };
        // An early end by patience cannot be foreseen, so all planned evaluations count.
        let evaluations_done = step * recipe.selection.evaluations / recipe.schedule.total_steps;
        // One more than planned: the best weights are scored again at the end.
        let evaluations_left = recipe.selection.evaluations - evaluations_done + 1;
        Self {
            step,
            total_steps: recipe.schedule.total_steps,
            loss,
            learning_rate: recipe.learning_rate_at(step - 1),
            tokens_per_second,
            seconds_left: (recipe.schedule.total_steps - step) as f64 * per_step
                + evaluations_left as f64 * per_evaluation,
            score,
        }
    }
}
