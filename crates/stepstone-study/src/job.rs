//! The protocol between a worker and the process that trains for it.
//!
//! The worker writes one [`Job`] as a line of JSON to the process's standard input, and later the line `stop` to have
//! the run saved. The end of the input means that the worker is gone; the process then ends at once. The process writes
//! [`Report`]s as lines of JSON to its standard output.

use crate::error::StudyError;
use crate::lease::is_current;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use stepstone_train::{Control, Outcome, Progress, Run, RunRequest};

/// The line that asks a process to save and stop.
pub const STOP: &str = "stop";

/// One run for one process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The id that the plan gave the run.
    pub id: String,
    /// The run.
    pub request: RunRequest,
    /// The folder of the worker's lease.
    pub lease_folder: PathBuf,
    /// The number of the worker's lease.
    pub fence: u64,
    /// Minimum seconds between two resume points.
    pub resume_seconds: u64,
}

/// A line that a training process writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// What the user should know about the run's encoder or data.
    Note(String),
    /// A step or an evaluation is done.
    Progress(JobProgress),
    /// The run failed.
    Error {
        /// What was found, and what was expected.
        reason: String,
        /// What to do.
        hint: Option<String>,
        /// See [`StudyError::stops_every_run`].
        every_run: bool,
    },
}

/// Progress of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct JobProgress {
    /// Steps done.
    pub step: u64,
    /// Steps of the run.
    pub total_steps: u64,
    /// Seconds left, at the speed so far.
    pub seconds_left: f64,
}

impl From<&Progress> for JobProgress {
    fn from(progress: &Progress) -> Self {
        let Progress { step, total_steps, seconds_left, .. } = *progress;
        Self { step, total_steps, seconds_left }
    }
}

impl Job {
    /// Reads what the run needs.
    ///
    /// # Errors
    /// If something is missing or corrupt, or the run is not the run that was planned.
    pub fn prepare(&self) -> Result<Run, StudyError> {
        let run = Run::prepare(&self.request)?;
        // Data or encoder may have changed since the plan was made; their scores must not get the planned id.
        if run.record.id != self.id {
            return Err(StudyError::Changed { planned: self.id.clone(), found: run.record.id });
        }
        Ok(run)
    }

    /// Trains the prepared run in this process.
    ///
    /// # Errors
    /// If the run fails, or another worker has taken it over.
    pub fn train(
        &self,
        run: &Run,
        stop: &AtomicBool,
        report: &mut dyn FnMut(&Progress),
    ) -> Result<Outcome, StudyError> {
        let still_ours = || is_current(&self.lease_folder, self.fence);
        let resume_interval = Duration::from_secs(self.resume_seconds);
        let control = Control { stop, resume_interval, still_ours: &still_ours };
        Ok(run.train(&control, report)?)
    }
}
