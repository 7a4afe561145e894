//! The left operand of a weight gradient, whose columns lie side by side in memory, in the order in which tiles read it.

use crate::simd::{InstructionSet, vectorize};
use std::cell::RefCell;

/// Rows of one group: three vectors of 16, and a multiple of 12 and of 6, so that no tile straddles two groups. Tiles of
/// 12 and 6 rows start at multiples of their height; those of 4, 2 and 1 share the last six, which they do not fill.
pub(super) const GROUP: usize = 48;
/// Depth of one partial sum. Part of the result's definition: bias gradients are sums over blocks of this many rows, added
/// in order. It also bounds the error, as each sum then has few terms.
const PARTIAL: usize = 64;

/// Length of the packed form of `rows` rows.
fn len(rows: usize, depth: usize) -> usize {
    rows.next_multiple_of(GROUP) * depth
}

/// Calls `work` with the packed form of the first `sums.len()` columns of data; see [`pack`]. `depth`
/// and `stride` are above 0: `Product::run` returns earlier for a batch without tokens.
// The memory belongs to the thread, so it lies in that core's cache, and it stays for the next call.
pub(super) fn with_packed(
    set: InstructionSet,
    data: &[f32],
    stride: usize,
    depth: usize,
    sums: &mut [f32],
    work: impl FnOnce(&[f32]),
) {
    thread_local! {
        static GROUPS: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    }
    // Taken out and put back instead of borrowed: a call inside `work` would find an empty buffer, not a panic.
    let mut groups = GROUPS.take();
    let len = len(sums.len(), depth);
    if groups.len() < len {
        groups.resize(len, 0.0);
    }
    vectorize(
        set,
        #[inline(always)]
        || pack(data, stride, depth, &mut groups[..len], sums),
    );
    work(&groups[..len]);
    GROUPS.set(groups);
}

/// Writes the first `sums.len()` columns of data, `stride` apart, into groups `[group][depth][GROUP]`: what a tile reads in
/// one step lies side by side. What lies beyond the last row keeps its value and is never read. On the way sums += the sums
/// over depth, by parts of [`PARTIAL`], added in order.
#[inline(always)]
fn pack(data: &[f32], stride: usize, depth: usize, groups: &mut [f32], sums: &mut [f32]) {
    for (number, (group, sums)) in groups.chunks_exact_mut(GROUP * depth).zip(sums.chunks_mut(GROUP)).enumerate() {
        let data = &data[number * GROUP..];
        for (group, data) in group.chunks_mut(PARTIAL * GROUP).zip(data.chunks(PARTIAL * stride)) {
            let mut partial = [0.0f32; GROUP];
            for (to, row) in group.as_chunks_mut::<GROUP>().0.iter_mut().zip(data.chunks(stride)) {
                // Whole groups by a copy of fixed size, which becomes a few vector moves; the last group number by number.
                match row.first_chunk::<GROUP>() {
                    Some(from) if sums.len() == GROUP => {
                        *to = *from;
                        for i in 0..GROUP {
                            partial[i] += from[i];
                        }
                    }
                    _ => {
                        for ((to, partial), from) in to.iter_mut().zip(&mut partial).zip(row).take(sums.len()) {
                            *to = *from;
                            *partial += from;
                        }
                    }
                }
            }
            sums.iter_mut().zip(partial).for_each(|(sum, partial)| *sum += partial);
        }
    }
}

/// sums += the sums over depth of the first `sums.len()` columns of data, in the order of [`pack`].
pub(super) fn add_sums(data: &[f32], stride: usize, sums: &mut [f32]) {
    for part in data.chunks(PARTIAL * stride) {
        let mut partial = vec![0.0f32; sums.len()];
        part.chunks(stride).for_each(|row| partial.iter_mut().zip(row).for_each(|(sum, value)| *sum += value));
        sums.iter_mut().zip(partial).for_each(|(sum, partial)| *sum += partial);
    }
}
