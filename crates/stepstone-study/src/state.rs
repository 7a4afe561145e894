//! The state of each run of a plan: what its folder says, and whether its model is there for the runs that start from
//! it.

use crate::lease::Leases;
use crate::plan::Plan;
use crate::store::{RunState, Store, failure};
use std::collections::BTreeSet;
use stepstone_train::TrainError;

/// The state of run number `run`. A finished run is damaged if its model is missing or torn while another run waits to
/// start from it; the model must then be trained again.
pub fn state(plan: &Plan, store: &Store, run: usize, leases: &mut Leases) -> RunState {
    let id = &plan.runs[run].record.id;
    match store.state(id, leases) {
        RunState::Done(scores) => match missing_model(plan, store, run) {
            None => RunState::Done(scores),
            Some(damaged) => leases.holder(store.folder(id).path()).map_or(damaged, RunState::Running),
        },
        other => other,
    }
}

/// The state of every run, as [`state`] has it; each folder is read once.
pub(crate) fn states(plan: &Plan, store: &Store, leases: &mut Leases) -> Vec<RunState> {
    let mut states: Vec<RunState> = plan.runs.iter().map(|run| store.state(&run.record.id, leases)).collect();
    let waits = |state: &RunState| !matches!(state, RunState::Done(_) | RunState::Foreign(_));
    let waiting = plan.runs.iter().zip(&states).filter(|(_, state)| waits(state));
    let needed: BTreeSet<usize> = waiting.filter_map(|(run, _)| run.parent).collect();
    for run in needed {
        if matches!(states[run], RunState::Done(_)) {
            states[run] = state(plan, store, run, leases);
        }
    }
    states
}

/// The state of run number `run` for its holder: leases are ignored.
pub(crate) fn state_for_holder(plan: &Plan, store: &Store, run: usize) -> RunState {
    match store.on_disk(&plan.runs[run].record.id) {
        RunState::Done(scores) => missing_model(plan, store, run).unwrap_or(RunState::Done(scores)),
        other => other,
    }
}

/// The damage, if a run waits for a model that cannot be used.
fn missing_model(plan: &Plan, store: &Store, run: usize) -> Option<RunState> {
    let waits = |id: &str| !matches!(store.on_disk(id), RunState::Done(_) | RunState::Foreign(_));
    let mut children = plan.runs.iter().filter(|child| child.parent == Some(run));
    if !children.any(|child| waits(&child.record.id)) {
        return None; // a model that nobody needs any more may have been deleted to save space
    }
    match store.folder(&plan.runs[run].record.id).check_model() {
        Err(error @ TrainError::DamagedModel(_)) => Some(RunState::Damaged(failure(&error))),
        Ok(()) | Err(_) => None, // what cannot be read fails the runs that start from it, each with the cause
    }
}
