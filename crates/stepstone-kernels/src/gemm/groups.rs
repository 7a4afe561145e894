//! The left operand of a weight gradient, whose columns lie side by side in memory.

use super::panels::{DEPTHS, by_depth};
use crate::simd::vectorize;
use crate::threads::Threads;

/// Rows that lie together in a packed left operand: whole vectors, and a multiple of every tile's rows, so that no tile
/// straddles two groups.
pub(super) const GROUP: usize = 48;

/// Length of the packed form of `rows` rows.
pub(super) fn len(rows: usize, depth: usize) -> usize {
    rows.next_multiple_of(GROUP) * depth
}

/// Writes data `[depth, rows]` into groups `[group][depth][GROUP]`: what a tile reads in one step lies side by side. What
/// lies beyond the last row keeps its value and is never read. On the way sums += the sums over depth: by blocks of
/// [`DEPTHS`], added in order.
pub(super) fn pack(threads: &Threads, data: &[f32], depth: usize, groups: &mut [f32], sums: &mut [f32]) {
    let rows = sums.len();
    assert_eq!(groups.len(), len(rows, depth), "gemm: length of groups");
    let items = by_depth(groups, depth, GROUP).into_iter().zip(data.chunks(DEPTHS * rows)).collect();
    let partial_sums = threads.map(items, |(mut parts, data): (Vec<&mut [f32]>, &[f32])| {
        let mut sums = vec![0.0f32; rows];
        vectorize(
            threads.instructions(),
            #[inline(always)]
            || pack_part(data, &mut parts, &mut sums),
        );
        sums
    });
    for partial in partial_sums {
        sums.iter_mut().zip(partial).for_each(|(sum, partial)| *sum += partial);
    }
}

#[inline(always)]
fn pack_part(data: &[f32], parts: &mut [&mut [f32]], sums: &mut [f32]) {
    for (k, row) in data.chunks_exact(sums.len()).enumerate() {
        for ((from, part), sums) in row.chunks(GROUP).zip(parts.iter_mut()).zip(sums.chunks_mut(GROUP)) {
            let to: &mut [f32; GROUP] = part[k * GROUP..].first_chunk_mut().expect("a part has a group for each depth");
            match (from.first_chunk(), sums.first_chunk_mut()) {
                (Some(from), Some(sums)) => copy_and_add::<GROUP>(from, to, sums),
                _ => {
                    to[..from.len()].copy_from_slice(from);
                    sums.iter_mut().zip(from).for_each(|(sum, from)| *sum += from);
                }
            }
        }
    }
}

#[inline(always)]
fn copy_and_add<const N: usize>(from: &[f32; N], to: &mut [f32; N], sums: &mut [f32; N]) {
    for i in 0..N {
        to[i] = from[i];
        sums[i] += from[i];
    }
}
