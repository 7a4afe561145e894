//! Finds runs that are too short to learn anything: they predict one label for every example, whatever they start from.

use crate::plan::{Plan, PlannedTask};

/// Steps x peak learning rate that a run needs to stop predicting a single label, in most of the measured tasks.
///
/// AdamW moves no parameter by more than about the learning rate in one step, so this bounds how far a run can go.
/// Source: `docs/results/collapse.md`, measured with one encoder.
const NEEDED: f64 = 5e-3;

/// The tasks whose runs are likely to predict a single label, each with its steps and the steps that it needs.
pub fn too_short(plan: &Plan) -> Vec<(&PlannedTask, u64, u64)> {
    let steps =
        |task: &PlannedTask| (task.recipe.schedule.total_steps, steps_needed(task.recipe.optimization.learning_rate));
    let rows = plan.tasks.iter().map(|task| (task, steps(task)));
    rows.filter(|(_, (steps, needed))| steps < needed).map(|(task, (steps, needed))| (task, steps, needed)).collect()
}

fn steps_needed(learning_rate: f64) -> u64 {
    (NEEDED / learning_rate).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smaller_learning_rates_need_more_steps() {
        for (learning_rate, steps) in [(5e-5, 100), (2e-5, 250), (5e-4, 10), (1.0, 0), (f64::MIN_POSITIVE, u64::MAX)] {
            assert_eq!(steps_needed(learning_rate), steps, "{learning_rate}");
        }
    }
}
