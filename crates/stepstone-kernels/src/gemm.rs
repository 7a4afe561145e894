//! Matrix products of a linear layer: forward, data gradient, weight gradient.
//!
//! Each is c = a b. First b is packed into panels of two vectors' width ([`panels`]), then blocks of c's rows are computed
//! by register tiles ([`block`]) and finished (bias, GELU) while they are in the cache. Machines without vectors go through
//! the `gemm` crate, block by block ([`portable`]).

mod block;
mod groups;
mod panels;
mod portable;

use crate::gelu;
use crate::simd::{InstructionSet, vectorize};
use crate::threads::Threads;
use block::BlockLeft;
use panels::Right;
use portable::Matrix;
use std::time::Instant;

/// Most rows of c that are one work item: with all depth of an inner layer they stay in L2.
const BLOCK: usize = 96;
/// What the rows of blocks but the last are a multiple of: those of most tiles.
const ROWS: usize = 6;

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
    let blocks = blocks(threads, y, shape.outputs).into_iter().map(|y| (y, ())).collect();
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
    let mut derivatives = derivative.map(|d| blocks(threads, d, shape.outputs).into_iter());
    let blocks = blocks(threads, y, shape.outputs)
        .into_iter()
        .map(|y| (y, derivatives.as_mut().and_then(Iterator::next)))
        .collect();
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
        left: Left::Rows(dy),
        right: Right::Rows(weight),
        depth: shape.outputs,
        columns: shape.inputs,
        accumulate,
    };
    product.run(
        threads,
        Path::of(threads.instructions()),
        blocks(threads, dx, shape.inputs).into_iter().map(|dx| (dx, ())).collect(),
        |_, ()| (),
    );
}

/// d_weight += dy^T x; d_bias += column sums of dy, by blocks of 64 rows, added in order.
///
/// # Panics
/// If a length does not fit `shape`, or it has no columns.
pub fn weight_gradient(
    threads: &Threads,
    shape: Shape,
    dy: &[f32],
    x: &[f32],
    d_weight: &mut [f32],
    d_bias: &mut [f32],
) {
    shape.check(x, d_weight, dy);
    assert_eq!(d_bias.len(), shape.outputs, "gemm: bias of {shape:?}");
    let product = Product {
        left: Left::Columns { data: dy, sums: d_bias },
        right: Right::Rows(x),
        depth: shape.rows,
        columns: shape.inputs,
        accumulate: true,
    };
    product.run(
        threads,
        Path::of(threads.instructions()),
        blocks(threads, d_weight, shape.inputs).into_iter().map(|d| (d, ())).collect(),
        |_, ()| (),
    );
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
#[derive(Debug)]
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
        let Product { left, right, depth, columns, accumulate } = self;
        let len: usize = blocks.iter().map(|(c, _)| c.len()).sum();
        if len == 0 || depth == 0 {
            return; // nothing to write, or nothing to add: only a weight gradient has a depth that may be 0
        }
        let rows = len / columns;
        let mut first_row = 0;
        let with_first_row = blocks.into_iter().map(|(c, extra)| {
            let first = first_row;
            first_row += c.len() / columns;
            (first, c, extra)
        });
        let items = with_first_row.collect();
        match path {
            Path::Tiles => {
                let panels_len = columns.next_multiple_of(block::width(threads.instructions())) * depth;
                let groups_len = if let Left::Columns { .. } = left { groups::len(rows, depth) } else { 0 };
                threads.with_scratch(panels_len + groups_len, |scratch| {
                    let start = Instant::now();
                    let (panels, groups) = scratch.split_at_mut(panels_len);
                    panels::pack(threads, right, depth, columns, panels);
                    let rows = match left {
                        Left::Rows(data) => Some(data),
                        Left::Columns { data, sums } => {
                            groups::pack(threads, data, depth, groups, sums);
                            None
                        }
                    };
                    let (panels, groups) = (&*panels, &*groups);
                    threads.add_packing_time(start.elapsed());
                    threads.for_each(items, |(first_row, c, extra): (usize, &mut [f32], E)| {
                        let left = match rows {
                            Some(data) => BlockLeft::Rows(&data[first_row * depth..]),
                            None => BlockLeft::Groups { data: groups, first_row },
                        };
                        threads.instructions().0.dispatch(block::Block { left, panels, depth, columns, accumulate, c });
                        finish(c, extra);
                    });
                });
            }
            Path::Portable => {
                let left = match left {
                    Left::Rows(data) => Matrix { data, row_stride: depth, column_stride: 1 },
                    Left::Columns { data, sums } => {
                        portable::add_column_sums(data, sums);
                        Matrix { data, row_stride: 1, column_stride: rows }
                    }
                };
                threads.for_each(items, |(first_row, c, extra): (usize, &mut [f32], E)| {
                    portable::product(left.from_row(first_row), right, depth, columns, accumulate, c);
                    finish(c, extra);
                });
            }
        }
    }
}

/// The left operand `[rows, depth]` of a product.
#[derive(Debug)]
enum Left<'a> {
    /// Row after row.
    Rows(&'a [f32]),
    /// Column after column: the transpose, row after row. The sum of each row is added to `sums` on the way.
    Columns { data: &'a [f32], sums: &'a mut [f32] },
}

fn product_with_weight<'a>(shape: Shape, x: &'a [f32], weight: &'a [f32]) -> Product<'a> {
    let (left, right) = (Left::Rows(x), Right::Columns(weight));
    Product { left, right, depth: shape.inputs, columns: shape.outputs, accumulate: false }
}

#[inline(always)]
fn add_rows(bias: &[f32], y: &mut [f32]) {
    for row in y.chunks_exact_mut(bias.len()) {
        row.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
    }
}

/// Cuts c into blocks of at most [`BLOCK`] rows, as many for each thread and equally high to within [`ROWS`].
fn blocks<'a>(threads: &Threads, mut c: &'a mut [f32], columns: usize) -> Vec<&'a mut [f32]> {
    let rows = c.len() / columns;
    let (count, tiles) = (threads.count() * rows.div_ceil(threads.count() * BLOCK), rows.div_ceil(ROWS));
    let mut blocks = Vec::with_capacity(count);
    for number in 0..count {
        let height = (tiles * (number + 1) / count - tiles * number / count) * ROWS;
        let block = c.split_off_mut(..(height * columns).min(c.len())).expect("the range lies within c");
        if !block.is_empty() {
            blocks.push(block);
        }
    }
    blocks
}

#[cfg(test)]
mod tests;
