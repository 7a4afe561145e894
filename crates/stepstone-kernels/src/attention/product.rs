//! The products of one head: small, and with every operand padded to whole vectors.

use crate::simd::LANES;
use crate::tile::{Left, Tiled, cover, sum};
use pulp::{Simd, WithSimd};

/// `n` rounded up to whole lane arrays, hence to whole vectors of every instruction set: the loops need no remainder.
pub(super) fn padded(n: usize) -> usize {
    n.next_multiple_of(LANES)
}

/// c = left right with left `[rows, depth]`, right `[depth, width]`, c `[rows, width]`; width is [`padded`].
pub(super) struct Product<'a> {
    pub(super) rows: usize,
    pub(super) depth: usize,
    pub(super) width: usize,
    pub(super) left: Left<'a>,
    pub(super) right: &'a [f32],
    pub(super) c: &'a mut [f32],
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        cover(simd, self.rows, &mut self);
    }
}

impl Tiled for Product<'_> {
    // Two: heads are 32 or 64 wide and sequences a few dozen keys long, so wider tiles would often be half empty.
    const VECTORS: usize = 2;

    #[inline(always)]
    fn tile<S: Simd, const ROWS: usize>(&mut self, simd: S, row: usize) {
        let vectors = self.width / S::F32_LANES;
        for column in (0..vectors / 2 * 2).step_by(2) {
            self.columns::<S, ROWS, 2>(simd, row, column);
        }
        if !vectors.is_multiple_of(2) {
            self.columns::<S, ROWS, 1>(simd, row, vectors - 1);
        }
    }
}

impl Product<'_> {
    /// Rows `row..row + ROWS` of the vectors from `first` on.
    #[inline(always)]
    fn columns<S: Simd, const ROWS: usize, const VECTORS: usize>(&mut self, simd: S, row: usize, first: usize) {
        let (right, _) = S::as_simd_f32s(self.right);
        let vectors = self.width / S::F32_LANES;
        let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
        sum(
            simd,
            self.left,
            row,
            self.depth,
            #[inline(always)]
            |k| *right[k * vectors + first..].first_chunk().expect("a tile lies within the width"),
            &mut sums,
        );
        for (r, sums) in sums.iter().enumerate() {
            let (row, _) = S::as_mut_simd_f32s(&mut self.c[(row + r) * self.width..][..self.width]);
            row[first..first + VECTORS].copy_from_slice(sums);
        }
    }
}
