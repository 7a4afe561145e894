//! How a device's time is divided among phases.

use std::ops::{Index, IndexMut};
use std::time::{Duration, Instant};
use stepstone_kernels::threads::Threads;

/// A kind of work in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Matrix products of the forward pass, with bias and GELU.
    GemmForward,
    /// Matrix products that give the gradient of a layer's input.
    DataGradient,
    /// Matrix products that give the gradient of a layer's weight, and the sums that give the gradient of its bias.
    WeightGradient,
    /// Packing the right operands of all products into the order in which tiles read them.
    Packing,
    /// Attention, forward and backward.
    Attention,
    /// Dropout, residual and layer norm, forward and backward.
    Norms,
    /// Gradient norm, clipping and AdamW.
    Optimizer,
    /// Embeddings, head and loss.
    Other,
}

impl Phase {
    /// All phases, in the order of the variants.
    pub const ALL: [Self; 8] = [
        Self::GemmForward,
        Self::DataGradient,
        Self::WeightGradient,
        Self::Packing,
        Self::Attention,
        Self::Norms,
        Self::Optimizer,
        Self::Other,
    ];

    /// The name in reports and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::GemmForward => "gemm_forward",
            Self::DataGradient => "data_gradient",
            Self::WeightGradient => "weight_gradient",
            Self::Packing => "packing",
            Self::Attention => "attention",
            Self::Norms => "norms",
            Self::Optimizer => "optimizer",
            Self::Other => "other",
        }
    }
}

/// Wall time by phase, and the work of the matrix products.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Times {
    // Indexed by the number of the variant; a test checks that `ALL` has the same order.
    phases: [Duration; Phase::ALL.len()],
    /// Floating-point operations of the matrix products; a fused multiply-add is two.
    pub gemm_flops: u64,
}

impl Index<Phase> for Times {
    type Output = Duration;

    fn index(&self, phase: Phase) -> &Duration {
        &self.phases[phase as usize]
    }
}

impl IndexMut<Phase> for Times {
    fn index_mut(&mut self, phase: Phase) -> &mut Duration {
        &mut self.phases[phase as usize]
    }
}

/// Charges time to phases, from lap to lap.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    pub(crate) times: Times,
    last: Instant,
    packing: Duration,
}

impl Stopwatch {
    pub(crate) fn new() -> Self {
        Self { times: Times::default(), last: Instant::now(), packing: Duration::ZERO }
    }

    /// Starts a lap; earlier time is charged to no phase.
    pub(crate) fn start(&mut self, threads: &Threads) {
        (self.last, self.packing) = (Instant::now(), threads.packing_time());
    }

    /// Charges the time since the last lap to `phase`, except the time spent on packing.
    pub(crate) fn lap(&mut self, threads: &Threads, phase: Phase) {
        let (last, packing) = (self.last, self.packing);
        self.start(threads);
        // Packing happens inside products, so its time is subtracted from the op's. The subtraction saturates, because
        // two readings of a clock may disagree by a tick.
        let packed = self.packing.saturating_sub(packing);
        self.times[Phase::Packing] += packed;
        self.times[phase] += self.last.duration_since(last).saturating_sub(packed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_have_different_names_and_places() {
        let names: std::collections::BTreeSet<_> = Phase::ALL.map(Phase::name).into();
        assert_eq!(names.len(), Phase::ALL.len());
        assert_eq!(Phase::ALL.map(|phase| phase as usize), [0, 1, 2, 3, 4, 5, 6, 7], "the order of the table of times");
    }

    /// No duration is expected: laps of any length must add up to the whole.
    #[test]
    fn laps_make_up_the_time_from_the_start() {
        let (threads, mut stopwatch) = (Threads::new(1).expect("threads start"), Stopwatch::new());
        stopwatch.start(&threads);
        let start = stopwatch.last;
        for phase in [Phase::Attention, Phase::Norms, Phase::Attention, Phase::Other] {
            stopwatch.lap(&threads, phase);
        }
        let charged: Duration = Phase::ALL.iter().map(|phase| stopwatch.times[*phase]).sum();
        assert_eq!(charged, stopwatch.last - start);
    }

    #[test]
    fn each_phase_has_a_time_of_its_own() {
        let mut times = Times::default();
        for (number, phase) in Phase::ALL.into_iter().enumerate() {
            times[phase] += Duration::from_secs(number as u64);
        }
        for (number, phase) in Phase::ALL.into_iter().enumerate() {
            assert_eq!(times[phase], Duration::from_secs(number as u64), "{phase:?}");
        }
    }
}
