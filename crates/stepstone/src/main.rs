//! Intermediate-task transfer learning as a command.
fn main() {}
