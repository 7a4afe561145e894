//! The product of a block of rows with packed panels.

use crate::simd::InstructionSet;
use crate::tile::{Left, Pair, Tiled, cover, sum};
use crate::transpose::transpose;
use pulp::{Simd, WithSimd};

/// Rows of one block: a multiple of every tile's rows. With 256 of depth, the block's left operand takes 48 KiB of L2,
/// and a panel's part of 16 KiB stays in L1 for all tiles of the block.
pub(super) const BLOCK: usize = 48;
/// Depth after which a tile's sums go back to memory, so that its part of the panel fits L1.
const DEPTH: usize = 256;
/// Rows that lie together in a packed left operand; no tile straddles two groups.
const GROUP: usize = 12;

/// c = a b, or c += a b, where b lies in panels of [`width`] columns: `[panel][depth][width]`.
pub(super) struct Block<'a> {
    /// `[rows, depth]`
    pub(super) left: Left<'a>,
    pub(super) panels: &'a [f32],
    pub(super) depth: usize,
    pub(super) columns: usize,
    pub(super) accumulate: bool,
    /// `[rows, columns]`
    pub(super) c: &'a mut [f32],
}

/// Columns of a panel: two vectors.
pub(super) fn width(set: InstructionSet) -> usize {
    2 * set.lanes()
}

impl WithSimd for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let width = 2 * S::F32_LANES;
        let rows = self.c.len() / self.columns;
        let mut groups = vec![0.0; BLOCK * DEPTH];
        for first_k in (0..self.depth).step_by(DEPTH) {
            let depth = DEPTH.min(self.depth - first_k);
            match self.left {
                Left::Rows { data, stride } => pack_rows(&data[first_k..], stride, rows, depth, &mut groups),
                Left::Columns { data, stride } => {
                    pack_columns(&data[first_k * stride..], stride, rows, depth, &mut groups);
                }
            }
            for (number, panel) in self.panels.chunks_exact(self.depth * width).enumerate() {
                let mut part = Part {
                    groups: &groups,
                    panel: &panel[first_k * width..][..depth * width],
                    depth,
                    load: self.accumulate || first_k > 0,
                    c: &mut self.c[number * width..],
                    stride: self.columns,
                    columns: width.min(self.columns - number * width),
                };
                cover(simd, rows, &mut part);
            }
        }
    }
}

/// `[group][depth][GROUP]`: what a tile reads in one step lies side by side. Rows a power of two apart would push each
/// other out of the cache.
#[inline(always)]
fn pack_rows(data: &[f32], stride: usize, rows: usize, depth: usize, groups: &mut [f32]) {
    for first in (0..rows).step_by(GROUP) {
        let group = &mut groups[first * depth..][..GROUP * depth];
        // Value by value a whole training step takes about 1 % longer.
        transpose::<4>(&data[first * stride..], stride, GROUP.min(rows - first), depth, group, GROUP);
    }
}

/// The same of columns, where a step's values would cost a line of cache each tile.
#[inline(always)]
fn pack_columns(data: &[f32], stride: usize, rows: usize, depth: usize, groups: &mut [f32]) {
    for (k, column) in data.chunks(stride).take(depth).enumerate() {
        for (number, from) in column[..rows].chunks(GROUP).enumerate() {
            let to: &mut [f32; GROUP] =
                groups[(number * depth + k) * GROUP..].first_chunk_mut().expect("a block fits its groups");
            match from.first_chunk() {
                Some(from) => *to = *from,
                None => to[..from.len()].copy_from_slice(from),
            }
        }
    }
}

/// Some depth of one panel, and where its sums go.
struct Part<'a> {
    /// The left operand.
    groups: &'a [f32],
    panel: &'a [f32],
    depth: usize,
    /// Whether sums start from what `c` holds.
    load: bool,
    /// From the panel's first column on.
    c: &'a mut [f32],
    stride: usize,
    /// Of the panel; the last one may be narrower than its zero-padded width.
    columns: usize,
}

impl Tiled for Part<'_> {
    #[inline(always)]
    fn tile<S: Simd, const ROWS: usize>(&mut self, simd: S, row: usize) {
        let mut sums = [[simd.splat_f32s(0.0); 2]; ROWS];
        if self.load {
            for (r, sums) in sums.iter_mut().enumerate() {
                *sums = self.load_row(simd, row + r);
            }
        }
        let right = &S::as_simd_f32s(self.panel).0.as_chunks::<2>().0[..self.depth];
        let left = Left::Columns { data: &self.groups[row / GROUP * GROUP * self.depth..], stride: GROUP };
        sum(
            simd,
            left,
            row % GROUP,
            self.depth,
            #[inline(always)]
            |k| right[k],
            &mut sums,
        );
        for (r, sums) in sums.iter().enumerate() {
            self.store_row(simd, row + r, *sums);
        }
    }
}

impl Part<'_> {
    #[inline(always)]
    fn load_row<S: Simd>(&self, simd: S, row: usize) -> Pair<S> {
        let c = &self.c[row * self.stride..][..self.columns];
        if let [first, second] = S::as_simd_f32s(c).0 {
            return [*first, *second];
        }
        let (first, second) = c.split_at(c.len().min(S::F32_LANES));
        [simd.partial_load_f32s(first), simd.partial_load_f32s(second)]
    }

    #[inline(always)]
    fn store_row<S: Simd>(&mut self, simd: S, row: usize, sums: Pair<S>) {
        let c = &mut self.c[row * self.stride..][..self.columns];
        if let [first, second] = S::as_mut_simd_f32s(c).0 {
            [*first, *second] = sums;
            return;
        }
        let (first, second) = c.split_at_mut(c.len().min(S::F32_LANES));
        simd.partial_store_f32s(first, sums[0]);
        simd.partial_store_f32s(second, sums[1]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemm::panels::{Right, pack};
    use crate::testing::random;
    use crate::threads::Threads;

    /// The definition: c[i][j] plus a[i][k] b[k][j], k ascending, each step rounded once.
    fn by_definition(a: &[f32], b: &[f32], depth: usize, columns: usize, c: &mut [f32]) {
        for (at, c) in c.iter_mut().enumerate() {
            let (i, j) = (at / columns, at % columns);
            *c = (0..depth).fold(*c, |sum, k| a[i * depth + k].mul_add(b[k * columns + j], sum));
        }
    }

    #[test]
    fn blocks_equal_the_definition_bit_by_bit() {
        for set in InstructionSet::available() {
            check(&Threads::with_instructions(1, set).unwrap());
        }
    }

    fn check(threads: &Threads) {
        for rows in [1, 2, 3, 5, 6, 7, 11, 12, 13, 31, 48] {
            for (columns, depth) in [(1, 1), (7, 31), (8, 7), (15, 2), (16, 256), (17, 257), (33, 600), (97, 64)] {
                let (a, b, start) = (random(1, rows * depth), random(2, depth * columns), random(3, rows * columns));
                let transposed: Vec<f32> = (0..rows * depth).map(|i| a[i % rows * depth + i / rows]).collect();
                let mut panels = vec![f32::NAN; columns.next_multiple_of(width(threads.instructions())) * depth];
                pack(threads, Right::Rows(&b), depth, columns, &mut panels);
                let lefts = [Left::Rows { data: &a, stride: depth }, Left::Columns { data: &transposed, stride: rows }];
                for (left, accumulate) in lefts.into_iter().flat_map(|left| [(left, false), (left, true)]) {
                    let mut want = if accumulate { start.clone() } else { vec![0.0; start.len()] };
                    by_definition(&a, &b, depth, columns, &mut want);
                    let mut c = start.clone();
                    threads.instructions().0.dispatch(Block {
                        left,
                        panels: &panels,
                        depth,
                        columns,
                        accumulate,
                        c: &mut c,
                    });
                    assert_eq!(
                        c,
                        want,
                        "{:?}: {rows} x {columns} over {depth}, accumulate {accumulate}",
                        threads.instructions()
                    );
                }
            }
        }
    }
}
