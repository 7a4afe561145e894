//! The real program, from the outside.

mod study;
mod workplace;
