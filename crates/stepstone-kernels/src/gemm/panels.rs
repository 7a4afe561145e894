//! The right operand of a product, in the order in which tiles read it.

use super::block::width;
use crate::threads::Threads;
use crate::transpose::transpose;
use pulp::{Simd, WithSimd};

/// A right operand `[depth, columns]` in memory.
#[derive(Debug, Clone, Copy)]
pub(super) enum Right<'a> {
    /// Row after row.
    Rows(&'a [f32]),
    /// Column after column: the transpose, row after row.
    Columns(&'a [f32]),
}

/// Writes panels `[panel][depth][width]` of [`width`] columns; zeros fill up the last one.
pub(super) fn pack(threads: &Threads, right: Right<'_>, depth: usize, columns: usize, panels: &mut [f32]) {
    let width = width(threads.instructions());
    assert_eq!(panels.len(), columns.next_multiple_of(width) * depth, "gemm: length of panels");
    match right {
        Right::Columns(data) => {
            let items = panels.chunks_exact_mut(depth * width).zip(data.chunks(depth * width)).collect();
            threads.for_each(items, |(panel, data): (&mut [f32], &[f32])| {
                let valid = data.len() / depth;
                if valid < width {
                    panel.fill(0.0);
                }
                threads.instructions().0.dispatch(Transpose { data, depth, panel, width });
            });
        }
        Right::Rows(data) => {
            let items = by_depth(panels, depth, width).into_iter().zip(data.chunks(DEPTHS * columns)).collect();
            threads.for_each(items, |(mut parts, rows): (Parts<'_>, &[f32])| match width {
                NARROW if columns.is_multiple_of(NARROW) => copy_narrow(rows, columns, &mut parts),
                _ => copy(rows, columns, width, &mut parts),
            });
        }
    }
}

/// Panel `[depth, width]` from the transpose of data `[columns, depth]`.
struct Transpose<'a> {
    data: &'a [f32],
    depth: usize,
    panel: &'a mut [f32],
    width: usize,
}

impl WithSimd for Transpose<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Transpose { data, depth, panel, width } = self;
        transpose(simd, data, depth, data.len() / depth, depth, panel, width);
    }
}

/// Depths of one work item. Each reads whole rows of the matrix, in the order of memory, and writes a part of every panel.
const DEPTHS: usize = 64;

/// The same depths of every panel: a matrix is then read row after row.
type Parts<'a> = Vec<&'a mut [f32]>;

/// Cuts `[panel][depth][width]` into work items of [`DEPTHS`].
fn by_depth(panels: &mut [f32], depth: usize, width: usize) -> Vec<Parts<'_>> {
    let count = panels.len() / (depth * width);
    let mut items: Vec<Parts<'_>> = (0..depth.div_ceil(DEPTHS)).map(|_| Vec::with_capacity(count)).collect();
    // Item i gets depths i * DEPTHS.. of every panel.
    for panel in panels.chunks_exact_mut(depth * width) {
        items.iter_mut().zip(panel.chunks_mut(DEPTHS * width)).for_each(|(parts, part)| parts.push(part));
    }
    items
}

fn copy(rows: &[f32], columns: usize, width: usize, parts: &mut [&mut [f32]]) {
    for (k, row) in rows.chunks_exact(columns).enumerate() {
        for (from, part) in row.chunks(width).zip(parts.iter_mut()) {
            let (valid, rest) = part[k * width..][..width].split_at_mut(from.len());
            valid.copy_from_slice(from);
            rest.fill(0.0);
        }
    }
}

/// Width of AVX2's panels.
const NARROW: usize = 16;

/// As [`copy`], for whole panels of 16 columns: for so few numbers, a call of the library's copy takes longer than copying.
fn copy_narrow(rows: &[f32], columns: usize, parts: &mut [&mut [f32]]) {
    for (k, row) in rows.chunks_exact(columns).enumerate() {
        for (from, part) in row.as_chunks::<NARROW>().0.iter().zip(parts.iter_mut()) {
            part.as_chunks_mut().0[k] = *from;
        }
    }
}
