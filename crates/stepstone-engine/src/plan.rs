//! Where each value of a program lies in the activation arena, for one batch shape.

use crate::{BatchShape, Program, Value};
use std::ops::Range;

/// Values start at multiples of this many elements (64 bytes of f32).
const ALIGNMENT: usize = 16;

/// Offsets of all values; two values share memory where their lifetimes do not touch.
#[derive(Debug, Clone)]
pub struct Plan {
    spans: Vec<Range<usize>>,
    /// Elements of the activation arena.
    pub len: usize,
}

impl Plan {
    /// Walks the ops in order, gives each value the lowest free place from its first use to its last, and so knows the
    /// memory of a step before it starts.
    pub fn new(program: &Program, shape: BatchShape) -> Self {
        let last = last_uses(program);
        let mut plan = Self { spans: vec![0..0; program.values.len()], len: 0 };
        let mut placed = vec![false; program.values.len()];
        let mut free = Vec::new();
        for (number, op) in program.ops.iter().enumerate() {
            let values = op.values();
            for value in &values {
                let index = value.0 as usize;
                if !std::mem::replace(&mut placed[index], true) {
                    let info = program.info(*value);
                    plan.spans[index] = plan.place(&mut free, shape.rows(info.rows) * info.columns);
                }
            }
            for value in values.iter().filter(|v| last[v.0 as usize] == number) {
                release(&mut free, padded(plan.span(*value)));
            }
        }
        plan
    }

    /// The elements of `value`.
    pub fn span(&self, value: Value) -> Range<usize> {
        self.spans[value.0 as usize].clone()
    }

    fn place(&mut self, free: &mut Vec<Range<usize>>, len: usize) -> Range<usize> {
        let need = len.next_multiple_of(ALIGNMENT);
        if let Some(at) = free.iter().position(|hole| hole.len() >= need) {
            let start = free[at].start;
            free[at].start += need;
            free.retain(|hole| !hole.is_empty());
            return start..start + len;
        }
        // A hole that ends at the arena's end is grown; else the arena is.
        let start = match free.last() {
            Some(hole) if hole.end == self.len => free.pop().map_or(self.len, |hole| hole.start),
            _ => self.len,
        };
        self.len = start + need;
        start..start + len
    }
}

fn padded(span: Range<usize>) -> Range<usize> {
    span.start..span.start + span.len().next_multiple_of(ALIGNMENT)
}

/// For each value the number of the last op that names it; outputs outlive every op.
fn last_uses(program: &Program) -> Vec<usize> {
    let mut last = vec![0; program.values.len()];
    for (number, op) in program.ops.iter().enumerate() {
        for value in op.values() {
            last[value.0 as usize] = number;
        }
    }
    for value in &program.outputs {
        last[value.0 as usize] = usize::MAX;
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
    free.dedup_by(|next, previous| {
        let touches = previous.end == next.start;
        if touches {
            previous.end = next.end;
        }
        touches
    });
}
