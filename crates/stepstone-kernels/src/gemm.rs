//! Matrix products of a linear layer: forward, data gradient, weight gradient, through the `gemm` crate.
//!
//! Each call is cut into blocks of output rows, by shape alone; the crate runs each block on one thread.

use crate::gelu;
use crate::simd::vectorize;
use crate::threads::Threads;

/// Output rows of one block. The crate packs the other operand once per block: 64 rows cost more packing, 256 leave
/// too few blocks for a short batch.
const BLOCK: usize = 128;
/// Rows of one partial sum of a bias gradient.
const BIAS_BLOCK: usize = 64;

/// Sizes of a linear layer: x `[rows, inputs]`, weight `[outputs, inputs]`, y `[rows, outputs]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the line above says it")]
pub struct Shape {
    pub rows: usize,
    pub inputs: usize,
    pub outputs: usize,
}

impl Shape {
    fn check(self, x: &[f32], weight: &[f32], y: &[f32]) {
        assert_eq!(x.len(), self.rows * self.inputs, "gemm: input side of {self:?}");
        assert_eq!(weight.len(), self.outputs * self.inputs, "gemm: weight of {self:?}");
        assert_eq!(y.len(), self.rows * self.outputs, "gemm: output side of {self:?}");
    }
}

/// y = x weight^T + bias, overwritten.
///
/// # Panics
/// If a length does not fit `shape`.
pub fn forward(threads: &Threads, shape: Shape, x: &[f32], weight: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
    shape.check(x, weight, y);
    let blocks = row_blocks(x, shape.inputs, y, shape.outputs);
    threads.for_each(blocks, |(x, y)| {
        product_with_weight(shape, x, weight, y);
        if let Some(bias) = bias {
            vectorize(
                #[inline(always)]
                || add_rows(bias, y),
            );
        }
    });
}

/// y = gelu(x weight^T + bias), and its derivative there where asked for, `[rows, outputs]`; both overwritten.
///
/// # Panics
/// If a length does not fit `shape`.
pub fn forward_gelu(
    threads: &Threads,
    shape: Shape,
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    derivative: Option<&mut [f32]>,
    y: &mut [f32],
) {
    shape.check(x, weight, y);
    let derivatives: Vec<Option<&mut [f32]>> = match derivative {
        Some(d) => {
            assert_eq!(d.len(), y.len(), "gemm: derivative of {shape:?}");
            blocks_mut(d, shape.outputs).map(Some).collect()
        }
        None => (0..shape.rows.div_ceil(BLOCK)).map(|_| None).collect(),
    };
    let blocks = row_blocks(x, shape.inputs, y, shape.outputs).into_iter().zip(derivatives).collect();
    threads.for_each(blocks, |((x, y), derivative)| {
        product_with_weight(shape, x, weight, y);
        gelu::forward_with_bias(bias, y, derivative);
    });
}

/// dx = dy weight, overwritten or added to.
///
/// # Panics
/// If a length does not fit `shape`.
pub fn data_gradient(threads: &Threads, shape: Shape, dy: &[f32], weight: &[f32], accumulate: bool, dx: &mut [f32]) {
    shape.check(dx, weight, dy);
    let blocks = row_blocks(dy, shape.outputs, dx, shape.inputs);
    let weight = Matrix { data: weight, row_stride: shape.inputs, column_stride: 1 };
    threads.for_each(blocks, |(dy, dx)| {
        let dy = Matrix { data: dy, row_stride: shape.outputs, column_stride: 1 };
        product(shape.outputs, dy, weight, accumulate, dx, shape.inputs);
    });
}

/// d_weight += dy^T x.
///
/// # Panics
/// If a length does not fit `shape`.
pub fn weight_gradient(threads: &Threads, shape: Shape, dy: &[f32], x: &[f32], d_weight: &mut [f32]) {
    shape.check(x, d_weight, dy);
    let x = Matrix { data: x, row_stride: shape.inputs, column_stride: 1 };
    let blocks = blocks_mut(d_weight, shape.inputs).enumerate().collect();
    threads.for_each(blocks, |(number, d_weight): (usize, &mut [f32])| {
        if shape.rows > 0 {
            let dy = Matrix { data: &dy[number * BLOCK..], row_stride: 1, column_stride: shape.outputs };
            product(shape.rows, dy, x, true, d_weight, shape.inputs);
        }
    });
}

/// d_bias += column sums of dy: sums over fixed blocks of rows, added in order.
///
/// # Panics
/// If `d_bias.len()` does not divide `dy.len()`.
pub fn bias_gradient(threads: &Threads, dy: &[f32], d_bias: &mut [f32]) {
    let columns = d_bias.len();
    assert_eq!(dy.len() % columns.max(1), 0, "gemm: rows of {columns} columns");
    let blocks = dy.chunks((BIAS_BLOCK * columns).max(1)).collect();
    let partial_sums = threads.map(blocks, |block: &[f32]| {
        let mut sums = vec![0.0f32; columns];
        vectorize(
            #[inline(always)]
            || block.chunks_exact(columns).for_each(|row| sums.iter_mut().zip(row).for_each(|(s, d)| *s += d)),
        );
        sums
    });
    for sums in partial_sums {
        d_bias.iter_mut().zip(sums).for_each(|(d, s)| *d += s);
    }
}

fn product_with_weight(shape: Shape, x: &[f32], weight: &[f32], y: &mut [f32]) {
    let x = Matrix { data: x, row_stride: shape.inputs, column_stride: 1 };
    let weight = Matrix { data: weight, row_stride: 1, column_stride: shape.inputs };
    product(shape.inputs, x, weight, false, y, shape.outputs);
}

#[inline(always)]
fn add_rows(bias: &[f32], y: &mut [f32]) {
    for row in y.chunks_exact_mut(bias.len()) {
        row.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
    }
}

/// Blocks of rows of an input and of the output made from them.
fn row_blocks<'a>(x: &'a [f32], inputs: usize, y: &'a mut [f32], outputs: usize) -> Vec<(&'a [f32], &'a mut [f32])> {
    x.chunks((BLOCK * inputs).max(1)).zip(blocks_mut(y, outputs)).collect()
}

fn blocks_mut(data: &mut [f32], columns: usize) -> std::slice::ChunksMut<'_, f32> {
    data.chunks_mut((BLOCK * columns).max(1))
}

/// A strided view; element (r, c) is `data[r * row_stride + c * column_stride]`.
#[derive(Clone, Copy)]
struct Matrix<'a> {
    data: &'a [f32],
    row_stride: usize,
    column_stride: usize,
}

impl Matrix<'_> {
    fn check(self, rows: usize, columns: usize) {
        let last = (rows - 1) * self.row_stride + (columns - 1) * self.column_stride;
        assert!(last < self.data.len(), "gemm: a view of {rows} x {columns} leaves its data");
    }
}

/// c = a b, or c += a b; a `[m, depth]`, b `[depth, columns]`, c `[m, columns]` contiguous, m = c.len() / columns.
fn product(depth: usize, a: Matrix<'_>, b: Matrix<'_>, accumulate: bool, c: &mut [f32], columns: usize) {
    if c.is_empty() {
        return;
    }
    let m = c.len() / columns;
    assert_eq!(m * columns, c.len(), "gemm: whole rows");
    assert!(depth > 0, "gemm: a product over nothing");
    a.check(m, depth);
    b.check(depth, columns);
    // SAFETY: `check` has shown that the last element of either view lies in its slice, hence every element does; `c`
    // is a contiguous [m, columns] matrix borrowed exclusively, so it overlaps neither; one thread is used.
    unsafe {
        gemm::gemm(
            m,
            columns,
            depth,
            c.as_mut_ptr(),
            1,
            columns as isize,
            accumulate,
            a.data.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            1.0f32,
            1.0f32,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::random;

    const SIZES: [usize; 7] = [0, 1, 7, 31, 64, 97, 131];

    /// Both sums may be off by depth * epsilon / 2 of the sum of absolute products.
    fn assert_near(got: &[f32], want: &[(f64, f64)], depth: usize, what: &str) {
        assert_eq!(got.len(), want.len(), "{what}");
        for (i, (g, (w, magnitude))) in got.iter().zip(want).enumerate() {
            let bound = (depth + 2) as f64 * f64::from(f32::EPSILON) * (magnitude + 1.0);
            assert!((f64::from(*g) - w).abs() <= bound, "{what} element {i}: {g} and {w}");
        }
    }

    /// (sum, sum of absolute values) of `term` over 0..depth, in f64: the definition.
    fn sum(depth: usize, start: f32, term: impl Fn(usize) -> (f32, f32)) -> (f64, f64) {
        (0..depth).map(&term).fold((f64::from(start), f64::from(start.abs())), |(s, m), (a, b)| {
            let p = f64::from(a) * f64::from(b);
            (s + p, m + p.abs())
        })
    }

    #[test]
    fn the_three_products_equal_their_definitions_at_all_sizes_and_thread_counts() {
        let pools = [1, 2, 3].map(|n| Threads::new(n).expect("threads start"));
        for rows in SIZES {
            for (inputs, outputs) in [(1, 1), (7, 31), (31, 7), (64, 129), (130, 3)] {
                let shape = Shape { rows, inputs, outputs };
                let (x, w, b) = (random(1, rows * inputs), random(2, inputs * outputs), random(3, outputs));
                let dy = random(4, rows * outputs);
                let mut first: Option<Vec<Vec<f32>>> = None;
                for threads in &pools {
                    let (mut y, mut dx) = (vec![9.0; rows * outputs], vec![9.0; rows * inputs]);
                    let (mut dx_more, mut dw, mut db) = (x.clone(), w.clone(), b.clone());
                    forward(threads, shape, &x, &w, Some(&b), &mut y);
                    data_gradient(threads, shape, &dy, &w, false, &mut dx);
                    data_gradient(threads, shape, &dy, &w, true, &mut dx_more);
                    weight_gradient(threads, shape, &dy, &x, &mut dw);
                    bias_gradient(threads, &dy, &mut db);
                    let all = vec![y, dx, dx_more, dw, db];
                    assert!(first.get_or_insert_with(|| all.clone()) == &all, "bits of {shape:?}");
                }
                let got = first.expect("three pools ran");
                let index = |n: usize, columns: usize| (n / columns, n % columns);
                let want_y = (0..rows * outputs).map(|n| {
                    let (t, j) = index(n, outputs);
                    sum(inputs, b[j], |c| (x[t * inputs + c], w[j * inputs + c]))
                });
                assert_near(&got[0], &want_y.collect::<Vec<_>>(), inputs, "forward");
                for (got, start) in [(&got[1], None), (&got[2], Some(&x))] {
                    let want = (0..rows * inputs).map(|n| {
                        let (t, c) = index(n, inputs);
                        sum(outputs, start.map_or(0.0, |s| s[n]), |j| (dy[t * outputs + j], w[j * inputs + c]))
                    });
                    assert_near(got, &want.collect::<Vec<_>>(), outputs, "data gradient");
                }
                let want_dw = (0..outputs * inputs).map(|n| {
                    let (j, c) = index(n, inputs);
                    sum(rows, w[n], |t| (dy[t * outputs + j], x[t * inputs + c]))
                });
                assert_near(&got[3], &want_dw.collect::<Vec<_>>(), rows, "weight gradient");
                let want_db = (0..outputs).map(|j| sum(rows, b[j], |t| (dy[t * outputs + j], 1.0)));
                assert_near(&got[4], &want_db.collect::<Vec<_>>(), rows, "bias gradient");
            }
        }
    }

    #[test]
    fn the_gelu_epilogue_equals_gelu_of_the_product() {
        let threads = Threads::new(2).expect("threads start");
        for rows in SIZES {
            let shape = Shape { rows, inputs: 31, outputs: 97 };
            let (x, w, b) = (random(1, rows * 31), random(2, 31 * 97), random(3, 97));
            let (mut plain, mut y, mut derivative) = (vec![0.0; rows * 97], vec![0.0; rows * 97], vec![0.0; rows * 97]);
            forward(&threads, shape, &x, &w, Some(&b), &mut plain);
            forward_gelu(&threads, shape, &x, &w, &b, Some(&mut derivative), &mut y);
            for i in 0..plain.len() {
                assert_eq!((y[i], derivative[i]), gelu::gelu(plain[i]), "rows {rows} element {i}");
            }
            let mut alone = vec![0.0; rows * 97];
            forward_gelu(&threads, shape, &x, &w, &b, None, &mut alone);
            assert_eq!(alone, y, "rows {rows}");
        }
    }
}
