//! The right operand of a product, in the order in which tiles read it.

use super::block::width;
use crate::simd::vectorize;
use crate::threads::Threads;
use crate::transpose::transpose;

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
    let items = panels.chunks_exact_mut(depth * width).enumerate().collect();
    threads.for_each(items, |(number, panel): (usize, &mut [f32])| {
        let first = number * width;
        let valid = width.min(columns - first);
        if valid < width {
            panel.fill(0.0);
        }
        match (right, valid) {
            (Right::Columns(data), _) => {
                let data = &data[first * depth..][..valid * depth];
                vectorize(
                    threads.instructions(),
                    #[inline(always)]
                    || transpose::<8>(data, depth, valid, depth, panel, width),
                );
            }
            (Right::Rows(data), 8) if width == 8 => copy::<8>(&data[first..], columns, panel),
            (Right::Rows(data), 16) if width == 16 => copy::<16>(&data[first..], columns, panel),
            (Right::Rows(data), 32) if width == 32 => copy::<32>(&data[first..], columns, panel),
            (Right::Rows(data), _) => {
                for (from, to) in data.chunks_exact(columns).zip(panel.chunks_exact_mut(width)) {
                    to[..valid].copy_from_slice(&from[first..first + valid]);
                }
            }
        }
    });
}

/// Rows of a whole panel. The width is a constant, as for so few numbers a call of the library's copy takes longer than
/// the copy.
fn copy<const WIDTH: usize>(data: &[f32], stride: usize, panel: &mut [f32]) {
    for (from, to) in data.chunks(stride).zip(panel.as_chunks_mut::<WIDTH>().0) {
        *to = *from.first_chunk().expect("a whole panel lies within the row");
    }
}
