//! Finished runs as rows of observations.csv.

use crate::error::StudyError;
use crate::lease::Leases;
use crate::plan::{NONE, Plan, PlannedRun};
use crate::store::{RunState, Store};
use stepstone_analysis::{Observation, Origin, Role as ObservedRole, Scoring, Sizes, Status, TrainingFacts};
use stepstone_train::{Role, Scores};

/// Factor from scores to points; every metric here is a fraction.
const SCALE: f64 = 100.0;
/// Hex digits of a recipe's hash.
const RECIPE_DIGITS: usize = 16;

/// One observation per run and metric; a run that is not done has a single one, without a score.
///
/// # Errors
/// If the store is closed to this process.
pub fn observations(plan: &Plan, store: &Store, leases: &mut Leases) -> Result<Vec<Observation>, StudyError> {
    store.check_open()?;
    let rows = plan.runs.iter().flat_map(|run| match store.state(&run.record.id, leases) {
        RunState::Done(scores) => scored(plan, run, &scores),
        RunState::Failed(_) | RunState::Foreign(_) => vec![unscored(plan, run, Status::Failed)],
        // A damaged run will be made again, so it is missing, not failed.
        RunState::Running(_) | RunState::Waiting { .. } | RunState::Damaged(_) => {
            vec![unscored(plan, run, Status::Missing)]
        }
    });
    Ok(rows.collect())
}

/// The primary metric, its companions, and the parts of the dev split.
fn scored(plan: &Plan, run: &PlannedRun, scores: &Scores) -> Vec<Observation> {
    let all = scores.scores.iter().chain(&scores.parts).enumerate();
    let row = |(number, score): (usize, &stepstone_tasks::NamedScore)| {
        let primary = number == 0;
        let without = unscored(plan, run, Status::Ok);
        Observation {
            score: Some(score.value),
            scoring: Scoring { metric: score.name.clone(), primary, ..without.scoring },
            sizes: Sizes {
                n_train: Some(scores.data.n_train as u64),
                // A part of the dev split has fewer examples, and their number is not recorded.
                n_dev: Some(scores.data.n_dev as u64).filter(|_| number < scores.scores.len()),
                n_classes: Some(scores.data.n_classes as u64),
                // The best constant answer is known for the primary metric only.
                majority_score: Some(scores.data.majority_score).filter(|_| primary),
                ..without.sizes
            },
            training: TrainingFacts {
                steps: Some(scores.steps),
                final_train_loss: Some(scores.final_train_loss).filter(|loss| loss.is_finite()),
                n_distinct_pred: Some(scores.n_distinct_pred as u64),
                ..without.training
            },
            ..without
        }
    };
    all.map(row).collect()
}

fn unscored(plan: &Plan, run: &PlannedRun, status: Status) -> Observation {
    let task = &plan.tasks[run.task];
    let role = match task.role {
        Role::Intermediate => ObservedRole::Intermediate,
        Role::Target => ObservedRole::Target,
        Role::Probe => ObservedRole::Probe,
    };
    Observation {
        origin: Origin {
            study: plan.study.name.clone(),
            run_id: run.record.id.clone(),
            encoder: plan.encoder_name(),
            recipe: recipe_hash(run),
        },
        score: None,
        scoring: Scoring { metric: task.task.metric.name().into(), scale: Some(SCALE), ..Scoring::default() },
        sizes: Sizes {
            n_train: Some(task.n_train as u64),
            n_dev: Some(task.n_dev as u64),
            n_intermediate: Some(examples_before(plan, run)),
            ..Sizes::default()
        },
        status,
        ..Observation::new(&run.intermediate, run.seed as i64, task.task.name, role, 0.0)
    }
}

/// Training examples of the intermediate task in the run's row; 0 for the baseline.
fn examples_before(plan: &Plan, run: &PlannedRun) -> u64 {
    match run.parent {
        Some(parent) => plan.tasks[plan.runs[parent].task].n_train as u64,
        None if run.intermediate == NONE => 0,
        None => plan.tasks[run.task].n_train as u64,
    }
}

fn recipe_hash(run: &PlannedRun) -> String {
    let text = serde_json::to_string(&run.record.identity.recipe).unwrap_or_default();
    blake3::hash(text.as_bytes()).to_hex()[..RECIPE_DIGITS].to_string()
}
