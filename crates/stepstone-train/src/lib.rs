//! One run: start point, task, recipe and seed to scores.
//!
//! [`Run::prepare`] reads everything and fixes the run's id; [`Run::train`] trains, evaluates, keeps the best weights,
//! survives being killed, and writes a run folder. [`predict`] and [`export`] use such a folder.

mod batches;
mod error;
mod export;
mod folder;
mod model;
mod predict;
mod recipe;
mod resume;
mod run;
mod trainer;

pub use error::TrainError;
pub use export::export;
pub use folder::{RunFolder, RunRecord, Scores};
pub use predict::{Prediction, find_run, predict};
pub use recipe::{Overrides, Recipe, Source, Warmup};
pub use run::{Run, RunRequest};
pub use trainer::{Control, Outcome, Progress};
