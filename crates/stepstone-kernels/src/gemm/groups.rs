//! The left operand of a weight gradient, whose columns lie side by side in memory.

use super::panels::by_depth;
use crate::simd::vectorize;
use crate::threads::Threads;

/// Rows that lie together in a packed left operand; a multiple of every tile's rows, so that no tile straddles two groups.
pub(super) const GROUP: usize = 12;

/// Length of the packed form of `rows` rows.
pub(super) fn len(rows: usize, depth: usize) -> usize {
    rows.next_multiple_of(GROUP) * depth
}

/// Writes data `[depth, rows]` into groups `[group][depth][GROUP]`: what a tile reads in one step lies side by side. What
/// lies beyond the last row keeps its value and is never read.
pub(super) fn pack(threads: &Threads, data: &[f32], rows: usize, depth: usize, groups: &mut [f32]) {
    assert_eq!(groups.len(), len(rows, depth), "gemm: length of groups");
    threads.for_each(by_depth(groups, depth, GROUP), |(first_k, mut parts)| {
        let data = &data[first_k * rows..];
        vectorize(
            threads.instructions(),
            #[inline(always)]
            || pack_part(data, rows, &mut parts),
        );
    });
}

#[inline(always)]
fn pack_part(data: &[f32], rows: usize, parts: &mut [&mut [f32]]) {
    let depth = parts.first().map_or(0, |part| part.len() / GROUP);
    for (k, row) in data.chunks_exact(rows).take(depth).enumerate() {
        for (from, part) in row.chunks(GROUP).zip(parts.iter_mut()) {
            let to: &mut [f32; GROUP] = part[k * GROUP..].first_chunk_mut().expect("a part has a group for each depth");
            match from.first_chunk() {
                Some(from) => *to = *from,
                None => to[..from.len()].copy_from_slice(from),
            }
        }
    }
}
