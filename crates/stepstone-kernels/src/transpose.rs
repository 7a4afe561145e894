//! Transposition of narrow matrices, and copies of short rows.

/// out[k][row] = data[row][k] for `rows` rows, `stride` apart, of which `depth` values count; rows of `out` are `width` long
/// and keep what lies beyond. Square by square of `SIDE`, in
/// registers; what is left over, one by one.
#[inline(always)]
pub(crate) fn transpose<const SIDE: usize>(
    data: &[f32],
    stride: usize,
    rows: usize,
    depth: usize,
    out: &mut [f32],
    width: usize,
) {
    let (whole_rows, whole_depth) = (rows / SIDE * SIDE, depth / SIDE * SIDE);
    for row in (0..whole_rows).step_by(SIDE) {
        for k in (0..whole_depth).step_by(SIDE) {
            let mut square = [[0.0f32; SIDE]; SIDE];
            for (i, side) in square.iter_mut().enumerate() {
                *side = *data[(row + i) * stride + k..].first_chunk().expect("a square lies within the rows");
            }
            for i in 0..SIDE {
                let to: &mut [f32; SIDE] =
                    out[(k + i) * width + row..].first_chunk_mut().expect("a square lies within the transpose");
                *to = std::array::from_fn(
                    #[inline(always)]
                    |j| square[j][i],
                );
            }
        }
    }
    for row in 0..rows {
        let first = if row < whole_rows { whole_depth } else { 0 };
        for k in first..depth {
            out[k * width + row] = data[row * stride + k];
        }
    }
}

/// As `copy_from_slice`, which for a few dozen numbers spends more on its call than on the copy.
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
    use crate::testing::random;

    #[test]
    fn every_value_lands_at_its_mirror_place() {
        for rows in [0, 1, 7, 8, 9, 31, 48] {
            for depth in [1, 7, 8, 15, 16, 33] {
                let (stride, width) = (depth + 3, rows + 2);
                let data = random(1, rows * stride);
                let mut out = vec![-1.0; depth * width];
                transpose::<8>(&data, stride, rows, depth, &mut out, width);
                let mut by_fours = vec![-1.0; depth * width];
                transpose::<4>(&data, stride, rows, depth, &mut by_fours, width);
                assert_eq!(out, by_fours, "{rows} rows of {depth}");
                for (at, value) in out.iter().enumerate() {
                    let (k, row) = (at / width, at % width);
                    let want = if row < rows { data[row * stride + k] } else { -1.0 };
                    assert_eq!(value.to_bits(), want.to_bits(), "{rows} rows of {depth}: row {row}, k {k}");
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
