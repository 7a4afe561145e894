//! How a caller steers a run, and how the run ends.

use crate::error::TrainError;
use crate::folder::Scores;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How the caller steers a run.
pub struct Control<'a> {
    /// When set: save and stop after the step, or the batch of an evaluation, in progress.
    pub stop: &'a AtomicBool,
    /// Least time between two resume points, which are made at evaluations.
    pub resume_interval: Duration,
    /// Asked before every write that others rely on: false if another worker has taken the run over.
    pub still_ours: &'a dyn Fn() -> bool,
}

impl Control<'_> {
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// An error if another worker has taken run `id` over.
    pub(crate) fn check_still_ours(&self, id: &str) -> Result<(), TrainError> {
        if (self.still_ours)() { Ok(()) } else { Err(TrainError::Lost { id: id.to_owned() }) }
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// All steps are done and the scores are written.
    Done(Scores),
    /// Stopped by the caller after this many steps; the state is saved.
    Stopped {
        /// Steps done.
        step: u64,
    },
}
