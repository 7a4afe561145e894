//! One run: start point, task, recipe and seed to scores.
//!
//! [`Run::prepare`] reads everything and fixes the run's id; [`Run::train`] trains, evaluates, keeps the best weights,
//! survives being killed, and writes a run folder. [`predict`] and [`export`] use such a folder. [`Benchmark`] measures
//! steps on made-up encoders.

mod batches;
mod benchmark;
mod bridge;
mod control;
mod error;
mod export;
mod finished;
mod folder;
mod identify;
mod inference;
mod measure;
mod model;
mod overrides;
mod predict;
mod preset;
mod progress;
mod publish;
mod recipe;
mod resume;
mod role;
mod run;
mod scores;
mod start;
mod step;
#[cfg(test)]
mod testing;
mod trainer;
mod verify;

pub use benchmark::{Benchmark, Shape};
pub use bridge::tokenizer_family;
pub use control::{Control, Outcome};
pub use error::{TrainError, read_hint, write_hint};
pub use export::export;
pub use folder::{FORMAT, FailureRecord, Identity, RunFolder, RunRecord, Timing};
pub use identify::{EncoderIdentity, Lengths};
pub use measure::Rates;
pub use overrides::{Key, Layer, Overrides, Source};
pub use predict::{Prediction, find_run, predict};
pub use preset::{Optimizer, Preset};
pub use progress::Progress;
pub use recipe::{Inputs, Limits, Optimization, Recipe, Schedule, Selection, Warmup};
pub use role::Role;
pub use run::{Run, RunRequest};
pub use scores::{DataCounts, Scores};
pub use start::StartPoint;
pub use verify::Verified;
