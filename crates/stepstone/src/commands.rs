//! One command, one file.

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

/// Where runs lie unless --out names another folder.
const STORE: &str = "runs";

/// As many threads as the machine has cores.
fn all_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// This program's file, to start it again.
fn this_program() -> io::Result<PathBuf> {
    std::env::current_exe()
}

/// The command that workers start; unlike every name that a user may misspell.
pub(crate) const TRAIN_JOB: &str = "internal-job";

/// What trains one run of a study.
fn train_job_command() -> io::Result<Vec<PathBuf>> {
    Ok(vec![this_program()?, TRAIN_JOB.into()])
}
