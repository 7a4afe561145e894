//! Run-time choice of the instruction set, and sums whose order does not depend on it.

/// f32 lanes of the widest vector in use; the unit in which loops are written.
pub(crate) const LANES: usize = 16;

/// Runs `work` compiled for the best instruction set of this machine. Mark closures and what they call `inline(always)`.
#[inline(always)]
pub(crate) fn vectorize<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

/// Sum of `term(i)` for i in 0..len: lane i % 16 takes term i, then the lanes are added in order.
#[inline(always)]
pub(crate) fn lane_sum(len: usize, term: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let whole = len / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        for lane in 0..LANES {
            lanes[lane] += term(start + lane);
        }
    }
    for i in whole..len {
        lanes[i - whole] += term(i);
    }
    lanes.iter().sum()
}
