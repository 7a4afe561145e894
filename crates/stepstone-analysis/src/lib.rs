//! From observations.csv to statistics to a report; knows no other crate of ours.
//!
//! [`read`] or [`parse`] a file, [`analyze`] each study in it, and give the [`Analysis`] to [`report`]. Nothing here
//! prints, starts anything or reads the environment.

mod additivity;
mod agreement;
mod analysis;
mod analyze;
mod averages;
mod baseline;
mod best;
mod cells;
mod coefficient;
mod column;
mod comparison;
mod correlations;
mod degenerate;
mod expected_best;
mod finding;
mod findings;
mod format;
mod grid;
mod hints;
mod influence;
mod input;
mod json;
mod map;
mod moderated;
mod moments;
mod multiple;
mod observation;
mod options;
mod permutation;
mod power;
mod ranks;
mod relation;
mod reliability;
pub mod report;
mod rng;
mod special;
mod structure;
mod table;

pub use agreement::{Agreement, agreement};
pub use analysis::{Analyses, Analysis};
pub use analyze::analyze;
pub use input::{InputError, Observations, ObservationsFile, Problem, parse, read};
pub use observation::{Observation, Origin, Role, Scoring, Sizes, Status, TrainingFacts, write_observations};
pub use options::{Alpha, Family, Method, Mode, Options};
pub use rng::SplitMix64;
