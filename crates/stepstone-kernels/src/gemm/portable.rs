//! Products through the `gemm` crate, for machines that have no vectors of f32.

use super::panels::Right;
use crate::write::Write;

/// c = left right, or c += left right; shapes `[rows, depth]`, `[depth, columns]`, `[rows, columns]`. One thread; the
/// order of each sum is a function of the shape.
pub(super) fn product(a: Matrix<'_>, right: Right<'_>, depth: usize, columns: usize, write: Write, c: &mut [f32]) {
    let rows = c.len() / columns;
    let b = match right {
        Right::Rows(data) => Matrix { data, row_stride: columns, column_stride: 1 },
        Right::Columns(data) => Matrix { data, row_stride: 1, column_stride: depth },
    };
    assert!(rows > 0 && depth > 0 && c.len() == rows * columns, "gemm: {} values for {columns} columns", c.len());
    a.check(rows, depth);
    b.check(depth, columns);
    // SAFETY: `check` has shown that the last element of either view lies in its slice, hence every element does; `c`
    // is a contiguous [rows, columns] matrix borrowed exclusively, so it overlaps neither; one thread is used.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            depth,
            c.as_mut_ptr(),
            1,
            columns as isize,
            write == Write::Accumulate,
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
            // One thread: the blocks are spread over our own pool already.
            gemm::Parallelism::None,
        );
    }
}

/// A strided view; element (r, c) is `data[r * row_stride + c * column_stride]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Matrix<'a> {
    pub(super) data: &'a [f32],
    pub(super) row_stride: usize,
    pub(super) column_stride: usize,
}

impl Matrix<'_> {
    fn check(self, rows: usize, columns: usize) {
        let last = (rows - 1) * self.row_stride + (columns - 1) * self.column_stride;
        assert!(last < self.data.len(), "gemm: a view of {rows} x {columns} leaves its data");
    }
}
