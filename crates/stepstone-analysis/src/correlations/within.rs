//! Correlation inside intermediates: does a good checkpoint of one intermediate task do well at both tasks?

use super::frame::{Frame, FramePair};
use super::pair::Within;
use crate::coefficient::{correlation_p, dot};

/// A covariance of less than this share of the two spreads is rounding.
const ROUNDING: f64 = 1e-12;

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
