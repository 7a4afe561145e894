//! From observations.csv to statistics to a report; knows no other crate of ours.

pub mod observation;
