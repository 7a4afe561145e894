//! From observations.csv to statistics to a report; knows no other crate of ours.

pub mod additivity;
pub mod analysis;
pub mod averages;
pub mod cells;
pub mod coefficient;
pub mod comparison;
pub mod correlations;
pub mod degenerate;
pub mod expected_best;
pub mod grid;
pub mod input;
pub mod json;
pub mod map;
pub mod moderated;
pub mod moments;
pub mod multiple;
pub mod observation;
pub mod options;
pub mod permutation;
pub mod power;
pub mod ranks;
pub mod relation;
pub mod reliability;
pub mod report;
pub mod rng;
pub mod special;
pub mod table;

pub use analysis::{Analysis, analyze};
pub use input::{InputError, Observations, parse, read};
pub use options::{Alpha, Family, Method, Mode, Options};
