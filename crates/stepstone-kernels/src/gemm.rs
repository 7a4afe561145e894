//! Matrix products of a linear layer: forward, data gradient, weight gradient.
//!
//! Each is c = a b. First b is packed into panels as wide as a tile (`panels`), then blocks of c's rows are computed by
//! register tiles (`block`) and finished (bias, GELU) while they are in the cache. Tiles read rows of a where they lie; where
//! a is the transpose of a matrix in memory, each block packs its own part (`groups`). Machines without vectors go through
//! the `gemm` crate, block by block (`portable`).

mod block;
mod groups;
mod panels;
mod portable;

use crate::gelu;
use crate::simd::{InstructionSet, vectorize};
use crate::threads::Threads;
use crate::write::Write;
use block::{Block, BlockLeft};
use panels::Right;
use portable::Matrix;
use std::time::Instant;

/// Most rows of c in one work item: with the whole depth of an inner layer they stay in L2.
const BLOCK: usize = 96;
/// Rows per tile; every block but the last is a multiple of it.
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
    let items = row_items(blocks(threads, y, shape.outputs), x, shape.inputs, std::iter::repeat(()));
    of_weight(shape, weight).run(threads, Path::of(threads.instructions()), items, |y, ()| {
        if let Some(bias) = bias {
            vectorize(
                threads.instructions(),
                #[inline(always)]
                || add_rows(bias, y),
            );
        }
    });
}

/// y = gelu(x weight^T + bias), and its derivative there if `derivative` is given, `[rows, outputs]`; both overwritten.
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
    let blocks_of = |c| blocks(threads, c, shape.outputs);
    let mut derivatives = derivative.map(|derivative| blocks_of(derivative).into_iter());
    let derivatives = std::iter::repeat_with(|| derivatives.as_mut()?.next().map(|(_, block)| block));
    let items = row_items(blocks_of(y), x, shape.inputs, derivatives);
    of_weight(shape, weight).run(threads, Path::of(threads.instructions()), items, |y, derivative| {
        gelu::forward_with_bias(threads.instructions(), bias, y, derivative);
    });
}

/// dx = dy weight, overwritten or added to.
///
/// # Panics
/// If a length does not fit `shape`, or it has no columns.
pub fn data_gradient(threads: &Threads, shape: Shape, dy: &[f32], weight: &[f32], write: Write, dx: &mut [f32]) {
    shape.check(dx, weight, dy);
    let items = row_items(blocks(threads, dx, shape.inputs), dy, shape.outputs, std::iter::repeat(()));
    let product = Product { right: Right::Rows(weight), depth: shape.outputs, columns: shape.inputs, write };
    product.run(threads, Path::of(threads.instructions()), items, |_, ()| ());
}

/// d_weight = dy^T x, overwritten or added to; d_bias += column sums of dy, by blocks of 64 rows, added in order.
///
/// # Panics
/// If a length does not fit `shape`, or it has no columns.
pub fn weight_gradient(
    threads: &Threads,
    shape: Shape,
    dy: &[f32],
    x: &[f32],
    write: Write,
    d_weight: &mut [f32],
    d_bias: &mut [f32],
) {
    shape.check(x, d_weight, dy);
    assert_eq!(d_bias.len(), shape.outputs, "gemm: bias of {shape:?}");
    let mut sums = d_bias;
    let items = blocks(threads, d_weight, shape.inputs).into_iter().map(|(first, c)| {
        let sums = sums.split_off_mut(..c.len() / shape.inputs).expect("a sum for each row");
        // An empty batch has blocks of weights to clear, but no first row of dy.
        Item {
            left: Left::Columns { data: dy.get(first..).unwrap_or_default(), stride: shape.outputs, sums },
            c,
            extra: (),
        }
    });
    let items = items.collect();
    let product = Product { right: Right::Rows(x), depth: shape.rows, columns: shape.inputs, write };
    product.run(threads, Path::of(threads.instructions()), items, |_, ()| ());
}

/// y = x weight^T.
fn of_weight(shape: Shape, weight: &[f32]) -> Product<'_> {
    Product { right: Right::Columns(weight), depth: shape.inputs, columns: shape.outputs, write: Write::Overwrite }
}

/// Blocks of c with the same rows of left `[rows, depth]`.
fn row_items<'a, E>(
    blocks: Vec<(usize, &'a mut [f32])>,
    left: &'a [f32],
    depth: usize,
    extras: impl Iterator<Item = E>,
) -> Vec<Item<'a, E>> {
    let items = blocks.into_iter().zip(extras);
    items.map(|((first, c), extra)| Item { left: Left::Rows(&left[first * depth..]), c, extra }).collect()
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
    fn of(set: InstructionSet) -> Self {
        if set.lanes() > 1 { Self::Tiles } else { Self::Portable }
    }
}

/// The left operand of a block of rows, `[rows, depth]`.
#[derive(Debug)]
enum Left<'a> {
    /// Row after row.
    Rows(&'a [f32]),
    /// Element (row, k) at `k * stride + row`. The sum of each row over k is added to `sums` `[rows]` on the way.
    Columns { data: &'a [f32], stride: usize, sums: &'a mut [f32] },
}

/// A block of rows of c = left right, or c += left right, and whatever `finish` needs for it.
#[derive(Debug)]
struct Item<'a, E> {
    left: Left<'a>,
    /// `[rows, columns]`
    c: &'a mut [f32],
    extra: E,
}

/// What the blocks of a product share; right has shape `[depth, columns]`.
#[derive(Debug, Clone, Copy)]
struct Product<'a> {
    right: Right<'a>,
    depth: usize,
    columns: usize,
    write: Write,
}

impl Product<'_> {
    /// Computes every block and hands it to `finish`, together with its `extra`, while it is in the cache.
    fn run<E: Send>(
        self,
        threads: &Threads,
        path: Path,
        items: Vec<Item<'_, E>>,
        finish: impl Fn(&mut [f32], E) + Sync + Send,
    ) {
        let Product { right, depth, columns, write } = self;
        if items.is_empty() || depth == 0 {
            // Nothing to write, or nothing to add: only a weight gradient can have depth 0, in a batch without tokens.
            if write == Write::Overwrite {
                items.into_iter().for_each(|item| item.c.fill(0.0));
            }
            return;
        }
        let set = threads.instructions();
        match path {
            // All panels are packed before the first block starts: every block reads all of them.
            Path::Tiles => threads.with_scratch(columns.next_multiple_of(block::width(set)) * depth, |panels| {
                let start = Instant::now();
                panels::pack(threads, right, depth, columns, panels);
                threads.add_packing_time(start.elapsed());
                threads.for_each(items, |Item { left, c, extra }| {
                    match left {
                        Left::Rows(data) => self.block(set, panels, BlockLeft::Rows(data), c),
                        Left::Columns { data, stride, sums } => {
                            groups::with_packed(set, data, stride, depth, sums, |groups| {
                                self.block(set, panels, BlockLeft::Groups(groups), c);
                            });
                        }
                    }
                    finish(c, extra);
                });
            }),
            Path::Portable => threads.for_each(items, |Item { left, c, extra }| {
                let left = match left {
                    Left::Rows(data) => Matrix { data, row_stride: depth, column_stride: 1 },
                    Left::Columns { data, stride, sums } => {
                        groups::add_sums(data, stride, sums);
                        Matrix { data, row_stride: 1, column_stride: stride }
                    }
                };
                portable::product(left, right, depth, columns, write, c);
                finish(c, extra);
            }),
        }
    }

    fn block(self, set: InstructionSet, panels: &[f32], left: BlockLeft<'_>, c: &mut [f32]) {
        let Product { depth, columns, write, .. } = self;
        set.0.dispatch(Block { left, panels, depth, columns, write, c });
    }
}

#[inline(always)]
fn add_rows(bias: &[f32], y: &mut [f32]) {
    for row in y.chunks_exact_mut(bias.len()) {
        row.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
    }
}

/// Cuts c into blocks of at most [`BLOCK`] rows, the same number for each thread and of equal height to within [`ROWS`];
/// each comes with the number of its first row.
fn blocks<'a>(threads: &Threads, mut c: &'a mut [f32], columns: usize) -> Vec<(usize, &'a mut [f32])> {
    let rows = c.len() / columns;
    // Blocks of equal height finish together: with one short block at the end, a thread would wait for the other (5 % of a
    // step on two threads).
    let (count, tiles) = (threads.count() * rows.div_ceil(threads.count() * BLOCK), rows.div_ceil(ROWS));
    let mut blocks = Vec::with_capacity(count);
    for number in 0..count {
        let (first, end) = ((tiles * number / count * ROWS).min(rows), (tiles * (number + 1) / count * ROWS).min(rows));
        let block = c.split_off_mut(..(end - first) * columns).expect("the rows lie within c");
        if !block.is_empty() {
            blocks.push((first, block));
        }
    }
    blocks
}

#[cfg(test)]
mod tests;
