//! The commands, one per file.

pub(crate) mod analyze;
pub(crate) mod bench;
pub(crate) mod demo;
pub(crate) mod export;
pub(crate) mod init;
pub(crate) mod plan;
pub(crate) mod predict;
mod recipe_flags;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod status;
pub(crate) mod study;
pub(crate) mod tasks;
pub(crate) mod train;
pub(crate) mod train_job;
pub(crate) mod worker;

use std::io;
use std::path::PathBuf;

/// Folder of runs unless --out names another.
const STORE: &str = "runs";

/// Number of threads: one per core.
fn all_cores() -> usize {
    // Unlike a count of processors, this heeds affinity masks and the quotas of control groups.
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Path of this program, to start it again.
fn this_program() -> io::Result<PathBuf> {
    // The binary itself, not `stepstone` from PATH: another version could give the planned runs other ids.
    std::env::current_exe()
}

/// The command that workers start. No misspelling of another command comes near this name.
pub(crate) const TRAIN_JOB: &str = "internal-job";

/// The command that trains one run of a study.
fn train_job_command() -> io::Result<Vec<PathBuf>> {
    Ok(vec![this_program()?, TRAIN_JOB.into()])
}
