//! Tests of the real program: they run commands and check files, messages and exit codes.

mod analyze;
mod bad_input;
#[cfg(unix)]
mod bad_output;
#[cfg(unix)]
mod bad_store;
mod bench;
mod damage;
mod flags;
mod predict;
mod quotes;
#[cfg(unix)]
mod signals;
mod study;
mod tasks;
mod terminal;
mod train;
mod workplace;
