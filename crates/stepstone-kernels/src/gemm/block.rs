//! The product of a block of rows with packed panels.

use super::groups::GROUP;
use crate::simd::InstructionSet;
use crate::tile::{Left, Tiled, cover, sum};
use crate::write::Write;
use pulp::{Simd, WithSimd};

/// Depth after which a tile's sums go back to memory, so that its part of a panel stays in L2: 512 rows of 64 columns are
/// 128 KiB. Storing and loading f32 sums rounds nothing, so the depth moves no bit.
const DEPTH: usize = 512;

/// The left operand of a block as tiles read it, `[rows, depth]`.
#[derive(Debug, Clone, Copy)]
pub(super) enum BlockLeft<'a> {
    /// Row after row, from the block's first on.
    Rows(&'a [f32]),
    /// Packed by [`super::groups`].
    Groups(&'a [f32]),
}

/// c = a b, or c += a b, where b lies in panels of [`width`] columns: `[panel][depth][width]`.
pub(super) struct Block<'a> {
    pub(super) left: BlockLeft<'a>,
    pub(super) panels: &'a [f32],
    pub(super) depth: usize,
    pub(super) columns: usize,
    pub(super) write: Write,
    /// `[rows, columns]`
    pub(super) c: &'a mut [f32],
}

/// Columns of a panel: those of a tile.
pub(super) fn width(set: InstructionSet) -> usize {
    struct Width;
    impl WithSimd for Width {
        type Output = usize;
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> usize {
            S::F32_LANES * if is_wide::<S>() { 4 } else { 2 }
        }
    }
    set.0.dispatch(Width)
}

/// Whether the registers hold 6 rows of 4 vectors.
fn is_wide<S: Simd>() -> bool {
    S::REGISTER_COUNT >= 32
}

impl WithSimd for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if is_wide::<S>() { self.run::<S, 4>(simd) } else { self.run::<S, 2>(simd) }
    }
}

impl Block<'_> {
    #[inline(always)]
    fn run<S: Simd, const VECTORS: usize>(self, simd: S) {
        let width = VECTORS * S::F32_LANES;
        let rows = self.c.len() / self.columns;
        // Panel by panel, depth by depth, and only then the rows: one part of a panel serves all rows before the next is read.
        for (number, panel) in self.panels.chunks_exact(self.depth * width).enumerate() {
            for first_k in (0..self.depth).step_by(DEPTH) {
                let depth = DEPTH.min(self.depth - first_k);
                let mut part = Part::<VECTORS> {
                    left: self.left,
                    panel: &panel[first_k * width..][..depth * width],
                    first_k,
                    depth,
                    whole_depth: self.depth,
                    load: self.write == Write::Accumulate || first_k > 0,
                    c: &mut self.c[number * width..],
                    stride: self.columns,
                    columns: width.min(self.columns - number * width),
                };
                cover(simd, rows, &mut part);
            }
        }
    }
}

/// Some depth of one panel, and where its sums go.
struct Part<'a, const VECTORS: usize> {
    left: BlockLeft<'a>,
    panel: &'a [f32],
    first_k: usize,
    depth: usize,
    /// Of the left operand.
    whole_depth: usize,
    /// Whether sums start from what `c` holds.
    load: bool,
    /// From the panel's first column on.
    c: &'a mut [f32],
    stride: usize,
    /// Columns of the panel; those of the last panel may be fewer than its zero-padded width.
    columns: usize,
}

impl<const VECTORS: usize> Tiled for Part<'_, VECTORS> {
    const VECTORS: usize = VECTORS;

    #[inline(always)]
    fn tile<S: Simd, const ROWS: usize>(&mut self, simd: S, row: usize) {
        let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
        if self.load {
            for (r, sums) in sums.iter_mut().enumerate() {
                *sums = self.load_row(simd, row + r);
            }
        }
        // Cut to `depth`, so that no index of the loop needs a check.
        let right = &S::as_simd_f32s(self.panel).0.as_chunks::<VECTORS>().0[..self.depth];
        let left = match self.left {
            BlockLeft::Rows(data) => {
                Left::Rows { data: &data[row * self.whole_depth + self.first_k..], stride: self.whole_depth }
            }
            // A group is [depth][GROUP]: the tile's rows lie side by side in it.
            BlockLeft::Groups(data) => {
                let group = &data[row / GROUP * GROUP * self.whole_depth..];
                Left::Columns { data: &group[self.first_k * GROUP + row % GROUP..], stride: GROUP }
            }
        };
        sum(
            simd,
            left,
            0,
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

impl<const VECTORS: usize> Part<'_, VECTORS> {
    #[inline(always)]
    fn load_row<S: Simd>(&self, simd: S, row: usize) -> [S::f32s; VECTORS] {
        let c = &self.c[row * self.stride..][..self.columns];
        // Whole rows without masks; only the last panel takes the way below.
        if let Some(whole) = S::as_simd_f32s(c).0.first_chunk() {
            return *whole;
        }
        let mut sums = [simd.splat_f32s(0.0); VECTORS];
        c.chunks(S::F32_LANES).zip(&mut sums).for_each(|(c, sum)| *sum = simd.partial_load_f32s(c));
        sums
    }

    #[inline(always)]
    fn store_row<S: Simd>(&mut self, simd: S, row: usize, sums: [S::f32s; VECTORS]) {
        let c = &mut self.c[row * self.stride..][..self.columns];
        if let Some(whole) = S::as_mut_simd_f32s(c).0.first_chunk_mut() {
            *whole = sums;
            return;
        }
        c.chunks_mut(S::F32_LANES).zip(sums).for_each(|(c, sum)| simd.partial_store_f32s(c, sum));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemm::groups;
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
            // A depth of 600 is above `DEPTH`, so that its sums go through memory once.
            for (columns, depth) in [(1, 1), (7, 31), (8, 7), (15, 2), (16, 256), (17, 257), (33, 600), (97, 64)] {
                let (a, b, start) = (random(1, rows * depth), random(2, depth * columns), random(3, rows * columns));
                let transposed: Vec<f32> = (0..rows * depth).map(|i| a[i % rows * depth + i / rows]).collect();
                let mut panels = vec![f32::NAN; columns.next_multiple_of(width(threads.instructions())) * depth];
                pack(threads, Right::Rows(&b), depth, columns, &mut panels);
                let mut packed = Vec::new();
                let set = threads.instructions();
                groups::with_packed(set, &transposed, rows, depth, &mut vec![0.0; rows], |groups| {
                    packed = groups.to_vec();
                });
                let lefts = [BlockLeft::Rows(&a), BlockLeft::Groups(&packed)];
                for (left, write) in
                    lefts.into_iter().flat_map(|left| [(left, Write::Overwrite), (left, Write::Accumulate)])
                {
                    let mut want = if write == Write::Accumulate { start.clone() } else { vec![0.0; start.len()] };
                    by_definition(&a, &b, depth, columns, &mut want);
                    let mut c = start.clone();
                    threads.instructions().0.dispatch(Block {
                        left,
                        panels: &panels,
                        depth,
                        columns,
                        write,
                        c: &mut c,
                    });
                    assert_eq!(c, want, "{:?}: {rows} x {columns} over {depth}, {write:?}", threads.instructions());
                }
            }
        }
    }
}
