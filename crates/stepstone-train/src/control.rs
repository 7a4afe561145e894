//! How a caller steers a run, and how the run ends.

use crate::error::TrainError;
use crate::scores::Scores;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How the caller steers a run.
pub struct Control<'a> {
    /// When this is set, the run saves its state and stops after the current step or evaluation batch.
    pub stop: &'a AtomicBool,
    /// Minimum time between two resume points, which are written at evaluations.
    pub resume_interval: Duration,
    /// Called before every write that others rely on; false if another worker has taken the run over.
    pub still_ours: &'a dyn Fn() -> bool,
}

impl Control<'_> {
    pub(crate) fn is_stopped(&self) -> bool {
        // The flag protects no other data, so relaxed ordering suffices.
        self.stop.load(Ordering::Relaxed)
    }

    /// Fails if another worker has taken over run `id`.
    pub(crate) fn check_still_ours(&self, id: &str) -> Result<(), TrainError> {
        if (self.still_ours)() { Ok(()) } else { Err(TrainError::Lost { id: id.to_owned() }) }
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there is one per run")]
pub enum Outcome {
    /// All steps are done and the scores are written.
    Done(Scores),
    /// Stopped by the caller after this many steps; the state is saved.
    Stopped {
        /// Steps done.
        step: u64,
    },
}
