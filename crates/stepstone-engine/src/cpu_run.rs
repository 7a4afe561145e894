//! One run of a program by the CPU kernels, as the ops see it.

use crate::batch::Batch;
use crate::layout::Param;
use crate::phases::Stopwatch;
use crate::scalars::Scalars;
use crate::site::DropoutSite;
use crate::value::{Value, ValueInfo};
use std::ops::Range;
use stepstone_kernels::philox::Dropout;
use stepstone_kernels::threads::Threads;

/// Arenas, batch and clock of one run.
pub(crate) struct Run<'a> {
    pub(crate) threads: &'a Threads,
    pub(crate) parameters: &'a [f32],
    pub(crate) gradients: &'a mut [f32],
    pub(crate) activations: &'a mut [f32],
    /// Range of each value in the activation arena.
    pub(crate) spans: &'a [Range<usize>],
    /// Shape of each value.
    pub(crate) shapes: &'a [ValueInfo],
    pub(crate) batch: &'a Batch,
    pub(crate) scalars: Scalars,
    /// Ranges of matrix gradients that may differ from zero.
    pub(crate) written: &'a mut Vec<Range<usize>>,
    pub(crate) stopwatch: &'a mut Stopwatch,
}

impl<'a> Run<'a> {
    /// Whether the gradient of a matrix is still all zero; marks it as written.
    // A product then overwrites the gradient and need not read it first, which saves 2 % of a step.
    pub(crate) fn first_gradient(&mut self, param: Param) -> bool {
        let span = param.range();
        // Ranges are compared, not tensors, because a slice of a matrix (say, queries alone) can be a weight of its
        // own.
        let first = self.written.iter().all(|other| other.end <= span.start || span.end <= other.start);
        if first {
            self.written.push(span);
        }
        first
    }

    pub(crate) fn span(&self, value: Value) -> Range<usize> {
        self.spans[value.index()].clone()
    }

    /// The span of an optional value; None gives the empty span at 0, which overlaps nothing.
    pub(crate) fn optional_span(&self, value: Option<Value>) -> Range<usize> {
        value.map_or(0..0, |value| self.span(value))
    }

    /// The elements of several values, all mutable at once.
    pub(crate) fn values<const N: usize>(&mut self, values: [Value; N]) -> [&mut [f32]; N] {
        let spans = values.map(|value| self.span(value));
        disjoint(self.activations, spans)
    }

    pub(crate) fn parameter(&self, param: Param) -> &'a [f32] {
        &self.parameters[param.range()]
    }

    pub(crate) fn rows(&self, value: Value) -> usize {
        self.batch.shape().rows(self.shapes[value.index()].rows)
    }

    pub(crate) fn columns(&self, value: Value) -> usize {
        self.shapes[value.index()].columns
    }

    /// The masks of a dropout, and the keys of the rows of `value` on which it acts.
    pub(crate) fn mask(&self, dropout: Option<DropoutSite>, value: Value) -> Option<(Dropout, &'a [u32])> {
        let mask = self.scalars.dropout(dropout?)?;
        Some((mask, self.batch.keys(self.shapes[value.index()].rows)))
    }
}

/// Mutable slices of several spans of one arena.
///
/// # Panics
/// If two of them overlap.
pub(crate) fn disjoint<const N: usize>(arena: &mut [f32], spans: [Range<usize>; N]) -> [&mut [f32]; N] {
    // `get_disjoint_mut` refuses an empty span inside another span, so empty spans move to the front.
    let spans = spans.map(|span| if span.is_empty() { 0..0 } else { span });
    arena.get_disjoint_mut(spans).expect("a memory plan gives the values of one op places of their own")
}

#[cfg(test)]
mod tests {
    use super::disjoint;

    #[test]
    fn empty_spans_may_lie_inside_others() {
        let mut arena = [1.0, 2.0, 3.0, 4.0];
        let [left, empty, right] = disjoint(&mut arena, [0..2, 1..1, 2..4]);
        assert_eq!((&*left, empty.len(), &*right), (&[1.0, 2.0][..], 0, &[3.0, 4.0][..]));
    }

    #[test]
    #[should_panic(expected = "places of their own")]
    fn overlapping_spans_are_a_bug_of_the_plan() {
        disjoint(&mut [0.0; 4], [0..3, 2..4]);
    }
}
