//! A correlation coefficient with its p-value, and why there may be none.

use serde::{Deserialize, Serialize};

/// Fewest rows for a coefficient.
// Two rows always correlate by -1 or 1.
pub(super) const FEWEST: usize = 3;

/// Fewest rows for a p-value.
// Three rows leave one degree of freedom, at which even r = 0.99 is not significant.
pub(super) const FEWEST_TESTED: usize = 4;

/// Why a correlation is undefined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Undefined {
    /// Fewer than 3 rows have both scores.
    Few,
    /// A column has the same score in every row.
    Constant,
}

/// A correlation and its two-sided p-value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Coefficient {
    /// In [-1, 1].
    pub r: f64,
    /// `None` below 4 rows.
    pub p: Option<f64>,
}
