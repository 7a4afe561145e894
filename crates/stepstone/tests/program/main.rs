//! The real program, from the outside: commands in, files, messages and exit codes out.

mod analyze;
mod bad_input;
#[cfg(unix)]
mod bad_output;
mod bench;
mod flags;
mod predict;
mod quotes;
mod study;
mod tasks;
mod train;
mod workplace;
