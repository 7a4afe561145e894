//! Progress of a study.

use crate::cost::Cost;
use crate::error::StudyError;
use crate::lease::Leases;
use crate::plan::Plan;
use crate::slots::Slots;
use crate::state::{state, states};
use crate::store::{RunState, Store};
use crate::worker::Event;
use serde::Serialize;
use std::collections::BTreeMap;
use stepstone_train::{FORMAT, FailureRecord};

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
    /// Failures told by events: the folder of a run may be such that it takes no failure.json.
    failures: BTreeMap<usize, FailureRecord>,
}

impl<'a> Tally<'a> {
    /// Reads the store.
    ///
    /// # Errors
    /// If the store is closed to this process.
    pub fn read(plan: &'a Plan, store: &Store, leases: &mut Leases) -> Result<Self, StudyError> {
        let index = plan.runs.iter().enumerate().map(|(run, planned)| (planned.record.id.as_str(), run)).collect();
        let (states, left, failures) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        let mut tally = Tally { plan, index, states, left, failures };
        tally.read_again(store, leases)?;
        Ok(tally)
    }

    /// Reads the store once more.
    ///
    /// # Errors
    /// If the store is closed to this process.
    pub fn read_again(&mut self, store: &Store, leases: &mut Leases) -> Result<(), StudyError> {
        store.check_open()?;
        let states = states(self.plan, store, leases).into_iter().enumerate();
        self.states = states.map(|(run, state)| self.with_failure(run, state)).collect();
        Ok(())
    }

    fn with_failure(&self, run: usize, state: RunState) -> RunState {
        match (state, self.failures.get(&run)) {
            (RunState::Waiting { .. } | RunState::Damaged(_) | RunState::Failed(_), Some(failure)) => {
                RunState::Failed(failure.clone())
            }
            (state, _) => state,
        }
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
            Event::Failed { reason, hint, .. } => {
                let failure = FailureRecord { format: FORMAT, reason: reason.clone(), hint: hint.clone() };
                self.failures.insert(run, failure);
                self.settle(run, store, leases);
            }
            Event::Started { .. }
            | Event::Done { .. }
            | Event::Stopped { .. }
            | Event::Lost { .. }
            | Event::Orphaned { .. } => self.settle(run, store, leases),
        }
        Some(run)
    }

    fn settle(&mut self, run: usize, store: &Store, leases: &mut Leases) {
        self.left.remove(&run);
        self.states[run] = self.with_failure(run, state(self.plan, store, run, leases));
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
