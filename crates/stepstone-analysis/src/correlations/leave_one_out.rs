//! Influence: the correlation of the means with each intermediate task left out in turn.

use super::frame::{Frame, FramePair};
use crate::coefficient::{Coefficient, Ranks, spearman};

/// Range of a correlation when one intermediate is left out.
#[derive(Default)]
pub(super) struct LeaveOneOut {
    /// Smallest correlation without one intermediate.
    pub(super) min: Option<f64>,
    /// Largest correlation without one intermediate.
    pub(super) max: Option<f64>,
    /// The intermediate whose removal moves the correlation most, as an index into the table's names.
    pub(super) most: Option<u32>,
    /// True if some removal changes the sign, or takes the p-value across alpha.
    pub(super) decisive: bool,
}

/// Moves that differ by less are ties, which go to the first name.
const TIE: f64 = 1e-12;

/// Leaves out each intermediate of a pair whose correlation of means is `whole`.
pub(super) fn leave_one_out(frame: &Frame, pair: &FramePair, whole: Coefficient, alpha: f64) -> LeaveOneOut {
    let (x, y) = (&frame.columns[pair.x].mean_ranks, &frame.columns[pair.y].mean_ranks);
    let mut found = LeaveOneOut::default();
    let mut furthest = -1.0;
    for (left_out, &intermediate) in frame.intermediates.iter().enumerate() {
        // Ranks of ranks are ranks, so the means themselves are not needed.
        let Ok(rest) = spearman(&without(x, left_out), &without(y, left_out)) else { continue };
        found.min = Some(found.min.map_or(rest.r, |min: f64| min.min(rest.r)));
        found.max = Some(found.max.map_or(rest.r, |max: f64| max.max(rest.r)));
        // A conclusion that one intermediate can overturn is a statement about that intermediate.
        found.decisive |= rest.r * whole.r < 0.0 || crosses(rest.p, whole.p, alpha);
        // Ties go to the first name, so that the answer does not depend on rounding.
        let moved = (rest.r - whole.r).abs();
        if moved > furthest + TIE {
            (furthest, found.most) = (moved, Some(intermediate));
        }
    }
    found
}

fn without(ranks: &Ranks, left_out: usize) -> Vec<f64> {
    let (before, after) = (&ranks.doubled[..left_out], &ranks.doubled[left_out + 1..]);
    [before, after].concat()
}

fn crosses(a: Option<f64>, b: Option<f64>, alpha: f64) -> bool {
    a.zip(b).is_some_and(|(a, b)| (a < alpha) != (b < alpha))
}
