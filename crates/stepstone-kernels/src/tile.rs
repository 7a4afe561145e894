//! Register tiles, of which every product is made: a few rows of a result, one to four vectors wide.

use pulp::Simd;

/// The left operand of a product, `[rows, depth]`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Left<'a> {
    /// Element (row, k) at `row * stride + k`.
    Rows {
        /// From the first row on.
        data: &'a [f32],
        stride: usize,
    },
    /// Element (row, k) at `k * stride + row`.
    Columns {
        /// From the first row on.
        data: &'a [f32],
        stride: usize,
    },
}

/// A product that is computed tile by tile.
pub(crate) trait Tiled {
    /// Vectors side by side in a tile.
    const VECTORS: usize;

    /// Computes rows `row..row + ROWS`, all columns.
    fn tile<S: Simd, const ROWS: usize>(&mut self, simd: S, row: usize);
}

/// Computes all `rows`, in the tallest tiles that the registers hold.
#[inline(always)]
pub(crate) fn cover<S: Simd, P: Tiled>(simd: S, rows: usize, product: &mut P) {
    let mut row = 0;
    // Registers for the sums, a row of the right operand, and one value of the left. A tile that needs more than the machine
    // has would keep its sums in memory.
    if 12 * P::VECTORS + P::VECTORS < S::REGISTER_COUNT {
        while row + 12 <= rows {
            product.tile::<S, 12>(simd, row);
            row += 12;
        }
    }
    // Six rows of two vectors fill the 16 registers of AVX2, six of four the 32 of AVX-512. The rest is computed in smaller
    // tiles instead of a padded one: the rows of a batch are seldom a multiple of six.
    while row + 6 <= rows {
        product.tile::<S, 6>(simd, row);
        row += 6;
    }
    if row + 4 <= rows {
        product.tile::<S, 4>(simd, row);
        row += 4;
    }
    if row + 2 <= rows {
        product.tile::<S, 2>(simd, row);
        row += 2;
    }
    if row < rows {
        product.tile::<S, 1>(simd, row);
    }
}

/// `sums[r]` += sum over k below `depth` of `left[row + r][k] * right(k)`.
// k ascends and each step is one fused multiply-add, so the bits of an element depend neither on the tile's size nor on
// the width of vectors.
#[inline(always)]
pub(crate) fn sum<S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    left: Left<'_>,
    row: usize,
    depth: usize,
    right: impl Fn(usize) -> [S::f32s; VECTORS],
    sums: &mut [[S::f32s; VECTORS]; ROWS],
) {
    // A copy of which nothing takes the address stays in registers; `sums` itself would be stored in every step.
    let mut held = *sums;
    match left {
        Left::Rows { data, stride } => {
            let mut rows = [&data[..0]; ROWS];
            for (r, slice) in rows.iter_mut().enumerate() {
                // Cut to `depth`, so that no index in the loop needs a check.
                *slice = &data[(row + r) * stride..][..depth];
            }
            for k in 0..depth {
                let mut values = [0.0; ROWS];
                for r in 0..ROWS {
                    values[r] = rows[r][k];
                }
                step(simd, values, right(k), &mut held);
            }
        }
        Left::Columns { data, stride } => {
            for k in 0..depth {
                let values = data[k * stride + row..].first_chunk();
                step(simd, *values.expect("the rows of a tile lie within the stride"), right(k), &mut held);
            }
        }
    }
    *sums = held;
}

#[inline(always)]
fn step<S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    left: [f32; ROWS],
    right: [S::f32s; VECTORS],
    sums: &mut [[S::f32s; VECTORS]; ROWS],
) {
    for r in 0..ROWS {
        let value = simd.splat_f32s(left[r]);
        for v in 0..VECTORS {
            sums[r][v] = simd.mul_add_f32s(value, right[v], sums[r][v]);
        }
    }
}
