//! Correlation inside intermediates: does a good checkpoint of one intermediate task do well at both tasks?

use super::frame::{Frame, FramePair};
use crate::coefficient::{correlation_p, dot};

/// A covariance of less than this share of the two spreads is rounding.
const ROUNDING: f64 = 1e-12;

/// How two tasks move together among the restarts of one intermediate.
pub(super) struct Within {
    /// Pearson's r of the deviations from each intermediate's mean.
    pub(super) r: Option<f64>,
    /// Two-sided p-value on n - k - 1 degrees of freedom.
    pub(super) p: Option<f64>,
    /// Share of the covariance of the scores that lies between intermediates; below 0 or above 1 where the two parts
    /// have opposite signs. `None` where there is no covariance but rounding.
    pub(super) between_share: Option<f64>,
}

/// Source: repeated-measures correlation, Bakdash and Marusich 2017; reference `pingouin.rm_corr`.
pub(super) fn within(frame: &Frame, pair: &FramePair) -> Within {
    let (x, y) = (&frame.columns[pair.x], &frame.columns[pair.y]);
    let df = frame.rows() as f64 - frame.k() as f64 - 1.0;
    let r = x.within.correlation(&y.within).ok();
    let total = dot(&x.centred.values, &y.centred.values);
    let inside = dot(&x.within.values, &y.within.values);
    let rounding = ROUNDING * (x.centred.squares * y.centred.squares).sqrt();
    let between_share = (total.abs() > rounding && frame.k() > 1).then(|| 1.0 - inside / total);
    Within { r, p: r.and_then(|r| correlation_p(r, df)), between_share }
}
