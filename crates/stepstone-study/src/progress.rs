//! Progress of a study.

use crate::cost::Cost;
use crate::lease::Leases;
use crate::plan::Plan;
use crate::slots::Slots;
use crate::state::{state, states};
use crate::store::{RunState, Store};
use crate::worker::Event;
use serde::Serialize;
use std::collections::BTreeMap;

/// Runs by state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All runs of the plan.
    pub total: usize,
    /// Finished.
    pub done: usize,
    /// Being trained by a worker.
    pub running: usize,
    /// Failed, or left alone because this version must not touch them.
    pub failed: usize,
    /// Cannot start, because a run on which they depend has failed.
    pub blocked: usize,
    /// Not started, stopped (to be resumed), or damaged (to be restored).
    pub waiting: usize,
}

/// The state of every run, read from the store and kept up to date by events.
#[derive(Debug)]
pub struct Tally<'a> {
    plan: &'a Plan,
    index: BTreeMap<&'a str, usize>,
    /// The state of each run of the plan.
    pub states: Vec<RunState>,
    /// Seconds left of each running run that has reported progress.
    left: BTreeMap<usize, f64>,
}

impl<'a> Tally<'a> {
    /// Reads the store.
    pub fn read(plan: &'a Plan, store: &Store, leases: &mut Leases) -> Self {
        let index = plan.runs.iter().enumerate().map(|(run, planned)| (planned.record.id.as_str(), run)).collect();
        let states = states(plan, store, leases);
        Tally { plan, index, states, left: BTreeMap::new() }
    }

    /// Whether a run cannot start because one before it has failed.
    pub fn is_blocked(&self, run: usize) -> bool {
        let failed = |parent: usize| is_failed(&self.states[parent]) || self.is_blocked(parent);
        matches!(self.states[run], RunState::Waiting { .. }) && self.plan.runs[run].parent.is_some_and(failed)
    }

    /// Runs by state.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts { total: self.states.len(), ..Counts::default() };
        for (run, state) in self.states.iter().enumerate() {
            *match state {
                RunState::Done(_) => &mut counts.done,
                RunState::Running(_) => &mut counts.running,
                RunState::Failed(_) | RunState::Foreign(_) => &mut counts.failed,
                RunState::Waiting { .. } if self.is_blocked(run) => &mut counts.blocked,
                RunState::Waiting { .. } | RunState::Damaged(_) => &mut counts.waiting,
            } += 1;
        }
        counts
    }

    /// Applies an event; returns the index of its run.
    pub fn apply(&mut self, event: &Event, store: &Store, leases: &mut Leases) -> Option<usize> {
        let run = *self.index.get(event.id())?;
        match event {
            Event::Progress { progress, .. } => {
                self.left.insert(run, progress.seconds_left);
            }
            Event::Note { .. } => {}
            Event::Started { .. }
            | Event::Done { .. }
            | Event::Failed { .. }
            | Event::Stopped { .. }
            | Event::Lost { .. }
            | Event::Orphaned { .. } => {
                self.left.remove(&run);
                self.states[run] = state(self.plan, store, run, leases);
            }
        }
        Some(run)
    }

    /// Approximate seconds until the study is done: running runs report their own, the others are estimated from
    /// `cost`.
    pub fn seconds_left(&self, cost: &Cost, slots: Slots) -> f64 {
        let open = |run: &usize| !matches!(self.states[*run], RunState::Done(_)) && !is_failed(&self.states[*run]);
        let seconds = |run: usize| cost.seconds(&self.plan.tasks[self.plan.runs[run].task]);
        let runs = (0..self.states.len()).filter(open).filter(|run| !self.is_blocked(*run));
        let longest = self.left.values().copied().fold(0.0, f64::max);
        let sum: f64 = runs.map(|run| self.left.get(&run).copied().unwrap_or_else(|| seconds(run))).sum();
        // Slots share the work, but a run is never split: the study lasts at least as long as its longest run.
        (sum / slots.count as f64).max(longest)
    }
}

/// Whether no worker will take the run or any run that starts from it.
fn is_failed(state: &RunState) -> bool {
    matches!(state, RunState::Failed(_) | RunState::Foreign(_))
}
