//! Matrix products of a linear layer: forward, data gradient, weight gradient.
//!
//! Each is c = a b. First b is packed into panels of two vectors' width ([`panels`]), then blocks of c's rows are computed
//! by register tiles ([`block`]) and finished (bias, GELU) while they are in the cache. Machines without vectors go through
//! the `gemm` crate, block by block ([`portable`]).

mod block;
mod panels;
mod portable;

use crate::gelu;
use crate::simd::{InstructionSet, vectorize};
use crate::threads::Threads;
use crate::tile::Left;
use block::BLOCK;
use panels::Right;
use std::time::Instant;

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
    /// Floating-point operations of one product; a fused multiply-add is two.
    pub fn flops(self) -> u64 {
        2 * (self.rows * self.inputs * self.outputs) as u64
    }

    fn check(self, x: &[f32], weight: &[f32], y: &[f32]) {
        assert!(self.inputs > 0 && self.outputs > 0, "gemm: no columns in {self:?}");
        assert_eq!(x.len(), self.rows * self.inputs, "gemm: input side of {self:?}");
        assert_eq!(weight.len(), self.outputs * self.inputs, "gemm: weight of {self:?}");
        assert_eq!(y.len(), self.rows * self.outputs, "gemm: output side of {self:?}");
    }
}

/// y = x weight^T + bias, overwritten.
///
/// # Panics
/// If a length does not fit `shape`, or it has no columns.
pub fn forward(threads: &Threads, shape: Shape, x: &[f32], weight: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
    shape.check(x, weight, y);
    assert!(bias.is_none_or(|bias| bias.len() == shape.outputs), "gemm: bias of {shape:?}");
    let blocks = blocks(y, shape.outputs).map(|y| (y, ())).collect();
    product_with_weight(shape, x, weight).run(threads, Path::of(threads.instructions()), blocks, |y, ()| {
        if let Some(bias) = bias {
            vectorize(
                threads.instructions(),
                #[inline(always)]
                || add_rows(bias, y),
            );
        }
    });
}

/// y = gelu(x weight^T + bias), and its derivative there where asked for, `[rows, outputs]`; both overwritten.
///
/// # Panics
/// If a length does not fit `shape`, or it has no columns.
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
    assert_eq!(bias.len(), shape.outputs, "gemm: bias of {shape:?}");
    assert!(derivative.as_ref().is_none_or(|d| d.len() == y.len()), "gemm: derivative of {shape:?}");
    let mut derivatives = derivative.map(|d| blocks(d, shape.outputs));
    let blocks = blocks(y, shape.outputs).map(|y| (y, derivatives.as_mut().and_then(Iterator::next))).collect();
    product_with_weight(shape, x, weight).run(threads, Path::of(threads.instructions()), blocks, |y, derivative| {
        gelu::forward_with_bias(threads.instructions(), bias, y, derivative);
    });
}

/// dx = dy weight, overwritten or added to.
///
/// # Panics
/// If a length does not fit `shape`, or it has no columns.
pub fn data_gradient(threads: &Threads, shape: Shape, dy: &[f32], weight: &[f32], accumulate: bool, dx: &mut [f32]) {
    shape.check(dx, weight, dy);
    let product = Product {
        left: Left::Rows { data: dy, stride: shape.outputs },
        right: Right::Rows(weight),
        depth: shape.outputs,
        columns: shape.inputs,
        accumulate,
    };
    product.run(
        threads,
        Path::of(threads.instructions()),
        blocks(dx, shape.inputs).map(|dx| (dx, ())).collect(),
        |_, ()| (),
    );
}

/// d_weight += dy^T x.
///
/// # Panics
/// If a length does not fit `shape`, or it has no columns.
pub fn weight_gradient(threads: &Threads, shape: Shape, dy: &[f32], x: &[f32], d_weight: &mut [f32]) {
    shape.check(x, d_weight, dy);
    let product = Product {
        left: Left::Columns { data: dy, stride: shape.outputs },
        right: Right::Rows(x),
        depth: shape.rows,
        columns: shape.inputs,
        accumulate: true,
    };
    product.run(
        threads,
        Path::of(threads.instructions()),
        blocks(d_weight, shape.inputs).map(|d| (d, ())).collect(),
        |_, ()| (),
    );
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
            threads.instructions(),
            #[inline(always)]
            || block.chunks_exact(columns).for_each(|row| sums.iter_mut().zip(row).for_each(|(s, d)| *s += d)),
        );
        sums
    });
    for sums in partial_sums {
        d_bias.iter_mut().zip(sums).for_each(|(d, s)| *d += s);
    }
}

/// How products are computed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Path {
    /// Own tiles over packed panels.
    Tiles,
    /// The `gemm` crate.
    Portable,
}

impl Path {
    /// Without vectors a fused multiply-add may be a library call, which the `gemm` crate avoids.
    fn of(set: InstructionSet) -> Path {
        if set.lanes() > 1 { Path::Tiles } else { Path::Portable }
    }
}

/// c = left right, or c += left right; shapes `[rows, depth]` and `[depth, columns]`.
#[derive(Debug, Clone, Copy)]
struct Product<'a> {
    left: Left<'a>,
    right: Right<'a>,
    depth: usize,
    columns: usize,
    accumulate: bool,
}

impl Product<'_> {
    /// Computes every block of c and hands it, with what came along, to `finish`.
    fn run<E: Send>(
        self,
        threads: &Threads,
        path: Path,
        blocks: Vec<(&mut [f32], E)>,
        finish: impl Fn(&mut [f32], E) + Sync + Send,
    ) {
        if blocks.is_empty() || self.depth == 0 {
            return; // nothing to write, or nothing to add: only a weight gradient has a depth that may be 0
        }
        let items = blocks.into_iter().enumerate().collect();
        match path {
            Path::Tiles => threads.with_scratch(
                self.columns.next_multiple_of(block::width(threads.instructions())) * self.depth,
                |panels| {
                    let start = Instant::now();
                    panels::pack(threads, self.right, self.depth, self.columns, panels);
                    threads.add_packing_time(start.elapsed());
                    threads.for_each(items, |(number, (c, extra)): (usize, (&mut [f32], E))| {
                        let (depth, columns, accumulate) = (self.depth, self.columns, self.accumulate);
                        let left = self.left_of(number);
                        threads.instructions().0.dispatch(block::Block { left, panels, depth, columns, accumulate, c });
                        finish(c, extra);
                    });
                },
            ),
            Path::Portable => threads.for_each(items, |(number, (c, extra)): (usize, (&mut [f32], E))| {
                let left = self.left_of(number);
                portable::product(left, self.right, self.depth, self.columns, self.accumulate, c);
                finish(c, extra);
            }),
        }
    }

    fn left_of(&self, block: usize) -> Left<'_> {
        match self.left {
            Left::Rows { data, stride } => Left::Rows { data: &data[block * BLOCK * stride..], stride },
            Left::Columns { data, stride } => Left::Columns { data: &data[block * BLOCK..], stride },
        }
    }
}

fn product_with_weight<'a>(shape: Shape, x: &'a [f32], weight: &'a [f32]) -> Product<'a> {
    let (left, right) = (Left::Rows { data: x, stride: shape.inputs }, Right::Columns(weight));
    Product { left, right, depth: shape.inputs, columns: shape.outputs, accumulate: false }
}

#[inline(always)]
fn add_rows(bias: &[f32], y: &mut [f32]) {
    for row in y.chunks_exact_mut(bias.len()) {
        row.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
    }
}

/// Blocks of rows.
fn blocks(c: &mut [f32], columns: usize) -> std::slice::ChunksMut<'_, f32> {
    c.chunks_mut(BLOCK * columns)
}

#[cfg(test)]
mod tests;
