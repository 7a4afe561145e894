//! Whether an output overwrites its memory or is added to it.

/// Whether a gradient is the first of its value or a further one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// The output replaces the old contents.
    Overwrite,
    /// The output is added to the old contents.
    Accumulate,
}
