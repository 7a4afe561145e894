//! The place of each value of a program in the activation arena, for one batch shape.

use crate::program::Program;
use crate::value::{BatchShape, Value};
use std::ops::Range;

/// Values start at multiples of this many elements: 64 bytes of f32, a cache line and the widest vector.
const ALIGNMENT: usize = 16;

/// Offsets of all values; two values may share memory if their lifetimes, from first to last use, do not overlap.
#[derive(Debug, Clone)]
pub struct MemoryPlan {
    pub(crate) spans: Vec<Range<usize>>,
    /// Elements of the activation arena.
    pub len: usize,
}

impl MemoryPlan {
    /// Walks the ops in order and gives each value the lowest free place from its first use to its last. The memory of
    /// a step is thus known before it starts.
    pub fn new(program: &Program, shape: BatchShape) -> Self {
        let last = last_uses(program);
        let mut plan = Self { spans: vec![0..0; program.values.len()], len: 0 };
        let mut placed = vec![false; program.values.len()];
        // Free holes of the arena, sorted by offset; adjacent holes are merged.
        let mut free = Vec::new();
        for (number, op) in program.ops.iter().enumerate() {
            let values = [op.reads(), op.writes()].concat();
            for value in &values {
                let index = value.index();
                if !std::mem::replace(&mut placed[index], true) {
                    plan.spans[index] = plan.place(&mut free, program.info(*value).len(shape));
                }
            }
            // Holes open only after the op's outputs are placed: an op must not write where it still reads.
            for value in values.iter().filter(|v| last[v.index()] == number) {
                release(&mut free, padded(plan.span(*value)));
            }
        }
        plan
    }

    /// The elements of `value`.
    pub fn span(&self, value: Value) -> Range<usize> {
        self.spans[value.index()].clone()
    }

    fn place(&mut self, free: &mut Vec<Range<usize>>, len: usize) -> Range<usize> {
        // Padded, so that the next value starts aligned.
        let need = len.next_multiple_of(ALIGNMENT);
        // First fit: the lowest hole that is large enough. Layers repeat the same sizes, so freed holes fit again, and
        // best fit would find the same ones.
        if let Some(at) = free.iter().position(|hole| hole.len() >= need) {
            let start = free[at].start;
            free[at].start += need;
            free.retain(|hole| !hole.is_empty());
            return start..start + len;
        }
        // A hole at the end of the arena is extended, which needs less memory than a new place behind it.
        let start = match free.last() {
            Some(hole) if hole.end == self.len => free.pop().map_or(self.len, |hole| hole.start),
            _ => self.len,
        };
        self.len = start + need;
        start..start + len
    }
}

fn padded(span: Range<usize>) -> Range<usize> {
    // The padding belongs to the value's place, so it is released with it.
    span.start..span.start + span.len().next_multiple_of(ALIGNMENT)
}

/// For each value the number of the last op that names it; outputs outlive every op.
fn last_uses(program: &Program) -> Vec<usize> {
    let mut last = vec![0; program.values.len()];
    for (number, op) in program.ops.iter().enumerate() {
        for value in op.reads().into_iter().chain(op.writes()) {
            last[value.index()] = number;
        }
    }
    for value in &program.outputs {
        // No op has this number, so an output is never released.
        last[value.index()] = usize::MAX;
    }
    last
}

/// Adds a hole, keeping holes sorted and merged.
fn release(free: &mut Vec<Range<usize>>, hole: Range<usize>) {
    if hole.is_empty() || free.iter().any(|h| h.start <= hole.start && hole.end <= h.end) {
        return; // an op that names a value twice releases it once
    }
    let at = free.partition_point(|h| h.start < hole.start);
    free.insert(at, hole);
    // `dedup_by` compares neighbours in order, so a hole that touches both of its neighbours merges with both.
    free.dedup_by(|next, previous| {
        let touches = previous.end == next.start;
        if touches {
            previous.end = next.end;
        }
        touches
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Model, Sketch, sketches};
    use proptest::prelude::*;

    /// A program with the batch it is planned for; training or inference.
    fn planned() -> impl Strategy<Value = (Program, BatchShape)> {
        (sketches(), any::<bool>()).prop_map(|(sketch, training)| {
            let Model { program, .. } = if training { sketch.training(0.1) } else { sketch.inference() };
            (program, sketch.batch().shape())
        })
    }

    /// First and last op that names each value; outputs live on after the last op.
    fn lifetimes(program: &Program) -> Vec<Option<(usize, usize)>> {
        let mut lifetimes = vec![None; program.values.len()];
        for (number, op) in program.ops.iter().enumerate() {
            for value in [op.reads(), op.writes()].concat() {
                let (_, last) = lifetimes[value.index()].get_or_insert((number, number));
                *last = number;
            }
        }
        for output in &program.outputs {
            lifetimes[output.index()].as_mut().expect("an op makes every output").1 = program.ops.len();
        }
        lifetimes
    }

    fn elements(program: &Program, shape: BatchShape, value: usize) -> usize {
        shape.rows(program.values[value].rows) * program.values[value].columns
    }

    proptest! {
        #[test]
        fn two_values_that_live_at_the_same_time_share_no_element((program, shape) in planned()) {
            let (plan, lifetimes) = (MemoryPlan::new(&program, shape), lifetimes(&program));
            for (a, b) in (0..lifetimes.len()).flat_map(|b| (0..b).map(move |a| (a, b))) {
                let (Some(life_a), Some(life_b)) = (lifetimes[a], lifetimes[b]) else { continue };
                let (span_a, span_b) = (&plan.spans[a], &plan.spans[b]);
                let meet = life_a.0 <= life_b.1 && life_b.0 <= life_a.1;
                let share = span_a.start < span_b.end && span_b.start < span_a.end;
                prop_assert!(!(meet && share), "values {a} {life_a:?} {span_a:?} and {b} {life_b:?} {span_b:?}");
            }
        }

        #[test]
        fn every_value_has_its_size_and_lies_within_the_arena((program, shape) in planned()) {
            let plan = MemoryPlan::new(&program, shape);
            for (value, lifetime) in lifetimes(&program).into_iter().enumerate() {
                let span = plan.span(Value(value as u32));
                let want = if lifetime.is_some() { elements(&program, shape, value) } else { 0 };
                prop_assert_eq!(span.len(), want, "value {}", value);
                prop_assert!(span.end <= plan.len && span.start.is_multiple_of(ALIGNMENT), "value {value}: {span:?}");
            }
        }

        #[test]
        fn the_arena_holds_the_largest_set_of_live_values((program, shape) in planned()) {
            let (plan, lifetimes) = (MemoryPlan::new(&program, shape), lifetimes(&program));
            for number in 0..program.ops.len() {
                let alive = |life: &Option<(usize, usize)>| life.is_some_and(|(first, last)| first <= number && number <= last);
                let live = (0..lifetimes.len()).filter(|value| alive(&lifetimes[*value]));
                let live: usize = live.map(|value| elements(&program, shape, value)).sum();
                prop_assert!(live <= plan.len, "op {number}: {live} elements are alive, the arena has {}", plan.len);
            }
        }

        /// Simulates the program on an arena that records, for each element, which value was last written there.
        #[test]
        fn every_op_and_the_host_find_what_was_written((program, shape) in planned()) {
            let plan = MemoryPlan::new(&program, shape);
            let mut owners = vec![None; plan.len];
            for (number, op) in program.ops.iter().enumerate() {
                for value in op.reads() {
                    let whole = owners[plan.span(value)].iter().all(|owner| *owner == Some(value));
                    prop_assert!(whole, "op {number} {op:?} reads {value:?}, of which a part was overwritten");
                }
                op.writes().into_iter().for_each(|value| owners[plan.span(value)].fill(Some(value)));
            }
            for output in &program.outputs {
                let whole = owners[plan.span(*output)].iter().all(|owner| *owner == Some(*output));
                prop_assert!(whole, "output {output:?} was overwritten");
            }
        }
    }

    fn len(model: &Model, sketch: &Sketch) -> usize {
        MemoryPlan::new(&model.program, sketch.batch().shape()).len
    }

    #[test]
    fn evaluation_needs_no_more_memory_for_more_layers() {
        let lens = [3, 4, 9, 30].map(|layers| len(&Sketch::chain(layers).inference(), &Sketch::chain(layers)));
        assert_eq!(lens, [2 * 8 * 16; 4], "two values of 8 tokens and 16 columns take turns");
    }

    /// The backward pass reads the input of every layer, so each additional layer keeps one more value.
    #[test]
    fn training_keeps_the_input_of_every_layer() {
        let len = |layers| len(&Sketch::chain(layers).training(0.0), &Sketch::chain(layers));
        assert_eq!(len(9) - len(8), 8 * 16);
    }

    #[test]
    fn a_hole_at_the_end_of_the_arena_is_grown() {
        let mut plan = MemoryPlan { spans: vec![], len: 0 };
        let mut free = vec![];
        let (first, second) = (plan.place(&mut free, 16), plan.place(&mut free, 32));
        release(&mut free, second);
        assert_eq!(plan.place(&mut free, 64), 16..80, "the hole of 32 elements becomes part of the place");
        assert_eq!((first, plan.len), (0..16, 80));
    }

    #[test]
    fn the_lowest_hole_that_is_large_enough_is_taken() {
        let mut plan = MemoryPlan { spans: vec![], len: 0 };
        let mut free = vec![];
        let spans = [16, 16, 48, 16, 32, 16].map(|len| plan.place(&mut free, len));
        [0, 2, 4].into_iter().for_each(|at| release(&mut free, spans[at].clone()));
        assert_eq!(
            plan.place(&mut free, 20),
            32..52,
            "the hole of 16 is too small, that of 48 comes before that of 32"
        );
        assert_eq!(free, [0..16, 64..80, 96..128]);
    }

    #[test]
    fn holes_that_touch_become_one_and_a_value_is_released_once() {
        let mut free = vec![];
        for hole in [32..48, 0..16, 16..32, 16..32] {
            release(&mut free, hole);
        }
        assert_eq!((free.len(), free[0].clone()), (1, 0..48));
    }
}
