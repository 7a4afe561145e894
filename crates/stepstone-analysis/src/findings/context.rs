//! The analysis that findings are drawn from, and wording that several share.

use crate::analysis::Analysis;
use crate::format::{confidence, plain, signed};
use crate::options::Mode;

/// An analysis in the mode that its options choose.
pub(super) struct Context<'a> {
    pub(super) analysis: &'a Analysis,
    pub(super) mode: Mode,
    pub(super) alpha: f64,
}

impl Context<'_> {
    /// True for a p-value that is defined and below the level.
    pub(super) fn significant(&self, p: Option<f64>) -> bool {
        p.is_some_and(|p| p < self.alpha)
    }

    /// `+3.2 (95 % interval +1.1 to +5.3)`.
    pub(super) fn with_interval(&self, value: f64, lo: Option<f64>, hi: Option<f64>) -> String {
        match lo.zip(hi) {
            None => format!("{} (no interval)", signed(value, 1)),
            Some((lo, hi)) => format!(
                "{} ({} interval {} to {})",
                signed(value, 1),
                confidence(self.alpha),
                signed(lo, 1),
                signed(hi, 1)
            ),
        }
    }
}

/// A correlation or share with two decimals.
pub(super) fn two(value: f64) -> String {
    plain(value, 2)
}
