//! Many runs: study file to plan, store, workers and observations.
//!
//! [`Study::read`] checks a study file, [`Plan::new`] names every run by what it depends on, and any number of workers
//! ([`work`]) on any machines take ready runs from a shared [`Store`] by leases and train each in a process of its own
//! ([`Job`]). [`observations`] turns finished runs into the table that the analysis reads.

mod collapse;
mod cost;
mod error;
mod file;
mod job;
mod kept_plan;
mod lease;
mod local;
mod observations;
mod plan;
mod progress;
mod reader;
mod slots;
mod state;
mod store;
#[cfg(test)]
mod testing;
mod wish;
mod worker;

pub use collapse::too_short;
pub use cost::{Cost, CostSource};
pub use error::{StudyError, causes};
pub use file::{Study, StudyFolders, StudyPaths, table_of};
pub use job::{Job, JobProgress, Report, STOP};
pub use lease::{EXPIRY, Holder, Leases};
pub use local::{WorkerError, WorkerReport, watch_workers};
pub use observations::observations;
pub use plan::{NONE, Plan, PlannedRun, PlannedTask};
pub use progress::{Counts, Tally};
pub use slots::Slots;
pub use state::state;
pub use store::{RunState, Store};
pub use wish::Wish;
pub use worker::{EXIT_WORK_LEFT, Ended, Event, WorkerSettings, work};
