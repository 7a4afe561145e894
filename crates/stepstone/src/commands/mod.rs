//! One command, one file.

pub(crate) mod export;
pub(crate) mod predict;
pub(crate) mod train;

/// Where runs lie unless --out names another folder.
const STORE: &str = "runs";

/// As many threads as the machine has cores.
fn all_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
