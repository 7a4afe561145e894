//! Whether an output replaces what lay in its place.

/// Whether a gradient is the first that reaches its place, or one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// The output is written whatever it held.
    Overwrite,
    /// The output is added to.
    Accumulate,
}
