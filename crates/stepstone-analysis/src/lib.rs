//! From observations.csv to statistics to a report; knows no other crate of ours.

pub mod comparison;
pub mod input;
pub mod moderated;
pub mod moments;
pub mod multiple;
pub mod observation;
pub mod options;
pub mod permutation;
pub mod special;

pub use input::{InputError, Observations, parse, read};
pub use options::{Alpha, Family, Method, Mode, Options};
