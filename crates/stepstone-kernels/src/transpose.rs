//! Transposition of narrow matrices, and copies of short rows.

use pulp::Simd;
use std::ops::Range;

/// `out[k][row] = data[row][k]` for `rows` rows, `stride` apart, of which `depth` values count; rows of `out` are `width` long
/// and keep what lies beyond.
#[inline(always)]
pub(crate) fn transpose<S: Simd>(
    simd: S,
    data: &[f32],
    stride: usize,
    rows: usize,
    depth: usize,
    out: &mut [f32],
    width: usize,
) {
    let mut done = 0;
    for side in squares::SIDES {
        if !squares::fit(simd, side) {
            continue;
        }
        let (first, whole_depth) = (done, depth / side * side);
        done = first + (rows - first) / side * side;
        // Along the rows first: few of them are read at once, each from its beginning to its end.
        for row in (first..done).step_by(side) {
            for k in (0..whole_depth).step_by(side) {
                squares::transpose(simd, side, &data[row * stride + k..], stride, &mut out[k * width + row..], width);
            }
            copy_transposed(data, stride, row..row + side, whole_depth..depth, out, width);
        }
    }
    copy_transposed(data, stride, done..rows, 0..depth, out, width);
}

/// One number at a time: what whole squares do not cover.
#[inline(always)]
fn copy_transposed(
    data: &[f32],
    stride: usize,
    rows: Range<usize>,
    depth: Range<usize>,
    out: &mut [f32],
    width: usize,
) {
    for row in rows {
        for k in depth.clone() {
            out[k * width + row] = data[row * stride + k];
        }
    }
}

/// Squares that are transposed in registers. Left to itself, the compiler moves one number at a time through memory.
#[cfg(target_arch = "x86_64")]
mod squares {
    use pulp::x86::{V3, V4};
    use pulp::{Simd, bytemuck::Pod, cast};
    use std::any::Any;
    use std::arch::x86_64::{__m256, __m512};

    /// Numbers in a row or column of a square.
    pub(super) const SIDES: [usize; 2] = [16, 8];

    /// Whether the registers hold squares of `side`.
    #[inline(always)]
    pub(super) fn fit<S: Simd>(simd: S, side: usize) -> bool {
        if side == 16 { as_v4(simd).is_some() } else { as_v3(simd).is_some() }
    }

    /// One square that [`fit`]s, from the beginnings of `data` and `out` on.
    #[inline(always)]
    pub(super) fn transpose<S: Simd>(simd: S, side: usize, data: &[f32], stride: usize, out: &mut [f32], width: usize) {
        if let (16, Some(simd)) = (side, as_v4(simd)) {
            let mut square: [__m512; 16] = [cast(simd.splat_f32s(0.0)); 16];
            read::<V4, _>(data, stride, &mut square);
            sixteen(simd, &mut square);
            write::<V4, _>(&square, out, width);
        } else if let (8, Some(simd)) = (side, as_v3(simd)) {
            let mut square: [__m256; 8] = [cast(simd.splat_f32s(0.0)); 8];
            read::<V3, _>(data, stride, &mut square);
            eight(simd, &mut square);
            write::<V3, _>(&square, out, width);
        }
    }

    // `S` is known when this is compiled, so the question is answered then and no test is left in the code.
    #[inline(always)]
    fn as_v4<S: Simd>(simd: S) -> Option<V4> {
        (&simd as &dyn Any).downcast_ref().copied()
    }

    #[inline(always)]
    fn as_v3<S: Simd>(simd: S) -> Option<V3> {
        as_v4(simd).map(|simd| *simd).or((&simd as &dyn Any).downcast_ref().copied())
    }

    #[inline(always)]
    fn read<S: Simd, V: Pod>(data: &[f32], stride: usize, square: &mut [V]) {
        for (row, to) in square.iter_mut().enumerate() {
            *to = cast(S::as_simd_f32s(&data[row * stride..][..S::F32_LANES]).0[0]);
        }
    }

    #[inline(always)]
    fn write<S: Simd, V: Pod>(square: &[V], out: &mut [f32], width: usize) {
        for (k, from) in square.iter().enumerate() {
            S::as_mut_simd_f32s(&mut out[k * width..][..S::F32_LANES]).0[0] = cast(*from);
        }
    }

    /// Transposes squares of 4 within the quarters of the registers (unpack), then the squares among themselves (shuffle of
    /// quarters): 64 shuffles for 256 numbers.
    #[inline(always)]
    fn sixteen(simd: V4, square: &mut [__m512; 16]) {
        let f = simd.avx512f;
        let rows = *square;
        let mut quarters = rows;
        for i in (0..16).step_by(4) {
            let low = [
                f._mm512_castps_pd(f._mm512_unpacklo_ps(rows[i], rows[i + 1])),
                f._mm512_castps_pd(f._mm512_unpacklo_ps(rows[i + 2], rows[i + 3])),
            ];
            let high = [
                f._mm512_castps_pd(f._mm512_unpackhi_ps(rows[i], rows[i + 1])),
                f._mm512_castps_pd(f._mm512_unpackhi_ps(rows[i + 2], rows[i + 3])),
            ];
            quarters[i] = f._mm512_castpd_ps(f._mm512_unpacklo_pd(low[0], low[1]));
            quarters[i + 1] = f._mm512_castpd_ps(f._mm512_unpackhi_pd(low[0], low[1]));
            quarters[i + 2] = f._mm512_castpd_ps(f._mm512_unpacklo_pd(high[0], high[1]));
            quarters[i + 3] = f._mm512_castpd_ps(f._mm512_unpackhi_pd(high[0], high[1]));
        }
        for c in 0..4 {
            let [q, r, s, t] = [quarters[c], quarters[4 + c], quarters[8 + c], quarters[12 + c]];
            let [first, second] = [f._mm512_shuffle_f32x4::<0x44>(q, r), f._mm512_shuffle_f32x4::<0x44>(s, t)];
            let [third, fourth] = [f._mm512_shuffle_f32x4::<0xee>(q, r), f._mm512_shuffle_f32x4::<0xee>(s, t)];
            square[c] = f._mm512_shuffle_f32x4::<0x88>(first, second);
            square[4 + c] = f._mm512_shuffle_f32x4::<0xdd>(first, second);
            square[8 + c] = f._mm512_shuffle_f32x4::<0x88>(third, fourth);
            square[12 + c] = f._mm512_shuffle_f32x4::<0xdd>(third, fourth);
        }
    }

    /// As [`sixteen`], with halves instead of quarters: 24 shuffles for 64 numbers.
    #[inline(always)]
    fn eight(simd: V3, square: &mut [__m256; 8]) {
        let f = simd.avx;
        let rows = *square;
        let mut halves = rows;
        for i in (0..8).step_by(4) {
            let low = [
                f._mm256_castps_pd(f._mm256_unpacklo_ps(rows[i], rows[i + 1])),
                f._mm256_castps_pd(f._mm256_unpacklo_ps(rows[i + 2], rows[i + 3])),
            ];
            let high = [
                f._mm256_castps_pd(f._mm256_unpackhi_ps(rows[i], rows[i + 1])),
                f._mm256_castps_pd(f._mm256_unpackhi_ps(rows[i + 2], rows[i + 3])),
            ];
            halves[i] = f._mm256_castpd_ps(f._mm256_unpacklo_pd(low[0], low[1]));
            halves[i + 1] = f._mm256_castpd_ps(f._mm256_unpackhi_pd(low[0], low[1]));
            halves[i + 2] = f._mm256_castpd_ps(f._mm256_unpacklo_pd(high[0], high[1]));
            halves[i + 3] = f._mm256_castpd_ps(f._mm256_unpackhi_pd(high[0], high[1]));
        }
        for c in 0..4 {
            square[c] = f._mm256_permute2f128_ps::<0x20>(halves[c], halves[4 + c]);
            square[4 + c] = f._mm256_permute2f128_ps::<0x31>(halves[c], halves[4 + c]);
        }
    }
}

/// On other machines one number at a time.
#[cfg(not(target_arch = "x86_64"))]
mod squares {
    use pulp::Simd;

    pub(super) const SIDES: [usize; 0] = [];

    #[inline(always)]
    pub(super) fn fit<S: Simd>(_: S, _: usize) -> bool {
        false
    }

    #[inline(always)]
    pub(super) fn transpose<S: Simd>(_: S, _: usize, _: &[f32], _: usize, _: &mut [f32], _: usize) {}
}

/// As `copy_from_slice`, whose call takes longer than the copy itself for a few dozen numbers.
#[inline(always)]
pub(crate) fn copy_short(from: &[f32], to: &mut [f32]) {
    const WIDTH: usize = 16;
    let ((from, from_rest), (to, to_rest)) = (from.as_chunks::<WIDTH>(), to.as_chunks_mut::<WIDTH>());
    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    to_rest.iter_mut().zip(from_rest).for_each(|(to, from)| *to = *from);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::InstructionSet;
    use crate::testing::random;
    use pulp::WithSimd;

    struct Transpose<'a> {
        data: &'a [f32],
        stride: usize,
        rows: usize,
        depth: usize,
        out: &'a mut [f32],
        width: usize,
    }

    impl WithSimd for Transpose<'_> {
        type Output = ();
        fn with_simd<S: Simd>(self, simd: S) {
            transpose(simd, self.data, self.stride, self.rows, self.depth, self.out, self.width);
        }
    }

    #[test]
    fn every_value_lands_at_its_mirror_place() {
        for set in InstructionSet::available() {
            for rows in [0, 1, 7, 8, 9, 16, 31, 47, 48] {
                for depth in [1, 7, 8, 15, 16, 33] {
                    // Larger than needed, so that a value written beyond its row shows.
                    let (stride, width) = (depth + 3, rows + 2);
                    let data = random(1, rows * stride);
                    let mut out = vec![-1.0; depth * width];
                    set.0.dispatch(Transpose { data: &data, stride, rows, depth, out: &mut out, width });
                    for (at, value) in out.iter().enumerate() {
                        let (k, row) = (at / width, at % width);
                        let want = if row < rows { data[row * stride + k] } else { -1.0 };
                        assert_eq!(
                            value.to_bits(),
                            want.to_bits(),
                            "{set:?}, {rows} rows of {depth}: row {row}, k {k}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn short_copies_are_whole() {
        for len in [0, 1, 15, 16, 17, 31, 64, 97] {
            let from = random(2, len);
            let mut to = vec![0.0; len];
            copy_short(&from, &mut to);
            assert_eq!(from, to);
        }
    }
}
