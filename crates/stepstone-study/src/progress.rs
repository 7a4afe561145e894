//! How far a study is.

use crate::cost::Cost;
use crate::lease::Leases;
use crate::plan::Plan;
use crate::slots::Slots;
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
    /// In the hands of a worker.
    pub running: usize,
    /// Failed.
    pub failed: usize,
    /// Cannot start, because the run before has failed.
    pub blocked: usize,
    /// Not started, or stopped and to be resumed.
    pub waiting: usize,
}

/// The state of every run, read from the store and kept up to date by events.
#[derive(Debug)]
pub struct Tally<'a> {
    plan: &'a Plan,
    index: BTreeMap<&'a str, usize>,
    /// The state of each run of the plan.
    pub states: Vec<RunState>,
    /// Seconds left of each running run, as far as it has said.
    left: BTreeMap<usize, f64>,
}

impl<'a> Tally<'a> {
    /// Reads the store.
    pub fn read(plan: &'a Plan, store: &Store, leases: &mut Leases) -> Self {
        let index = plan.runs.iter().enumerate().map(|(run, planned)| (planned.record.id.as_str(), run)).collect();
        let states = plan.runs.iter().map(|run| store.state(&run.record.id, leases)).collect();
        Tally { plan, index, states, left: BTreeMap::new() }
    }

    /// Whether a run cannot start because one before it has failed.
    pub fn is_blocked(&self, run: usize) -> bool {
        let failed = |parent: usize| matches!(self.states[parent], RunState::Failed(_)) || self.is_blocked(parent);
        matches!(self.states[run], RunState::Waiting { .. }) && self.plan.runs[run].parent.is_some_and(failed)
    }

    /// Runs by state.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts { total: self.states.len(), ..Counts::default() };
        for (run, state) in self.states.iter().enumerate() {
            *match state {
                RunState::Done(_) => &mut counts.done,
                RunState::Running(_) => &mut counts.running,
                RunState::Failed(_) => &mut counts.failed,
                RunState::Waiting { .. } if self.is_blocked(run) => &mut counts.blocked,
                RunState::Waiting { .. } => &mut counts.waiting,
            } += 1;
        }
        counts
    }

    /// Takes an event in; returns the index of its run.
    pub fn apply(&mut self, event: &Event, store: &Store, leases: &mut Leases) -> Option<usize> {
        let (Event::Started { id }
        | Event::Progress { id, .. }
        | Event::Done { id }
        | Event::Failed { id, .. }
        | Event::Stopped { id }
        | Event::Lost { id }) = event;
        let run = *self.index.get(id.as_str())?;
        if let Event::Progress { progress, .. } = event {
            self.left.insert(run, progress.seconds_left);
        } else {
            self.left.remove(&run);
            self.states[run] = store.state(id, leases);
        }
        Some(run)
    }

    /// Seconds until the study is done, about: what running runs say of themselves, and the cost of the others.
    pub fn seconds_left(&self, cost: &Cost, slots: Slots) -> f64 {
        let open = |run: &usize| !matches!(self.states[*run], RunState::Done(_) | RunState::Failed(_));
        let seconds = |run: usize| cost.seconds(&self.plan.tasks[self.plan.runs[run].task]);
        let runs = (0..self.states.len()).filter(open).filter(|run| !self.is_blocked(*run));
        let longest = self.left.values().copied().fold(0.0, f64::max);
        let sum: f64 = runs.map(|run| self.left.get(&run).copied().unwrap_or_else(|| seconds(run))).sum();
        (sum / slots.count as f64).max(longest)
    }
}
