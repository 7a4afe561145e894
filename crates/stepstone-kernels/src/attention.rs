//! Self-attention inside each sequence of a packed batch, forward and backward.
//!
//! Work items are sequences. Within one, each head's operands are copied into a small padded scratch and multiplied by
//! `product`, whose inner loops run over whole lanes. The whole score matrix of a head is kept: sentences and pairs are a
//! few dozen to a few hundred tokens long, so it fits the cache, and tiling over keys would save nothing.

mod backward;
mod forward;
mod product;
mod sequence;

use crate::philox::Dropout;
use crate::threads::Threads;
pub use sequence::{Qkv, QkvGradient, Shape};
use sequence::{Sequences, Target};

/// What both passes read.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// Heads and their width.
    pub shape: Shape,
    /// Where each sequence starts, and where the last one ends; `[sequences + 1]`.
    pub cu_seqlens: &'a [u32],
    /// Queries, keys and values.
    pub qkv: Qkv<'a>,
    /// Dropout on the probabilities, and the row key of each query. A mask depends on the query's key, the head and the
    /// key's place in its sequence.
    pub dropout: Option<(Dropout, &'a [u32])>,
}

/// out = dropout(softmax(Q K^T / sqrt(head_dim))) V by sequence and head, `[queries, h]`; lse = ln sum exp of each
/// score row, `[queries, heads]`.
///
/// # Panics
/// If a length does not fit.
pub fn forward(threads: &Threads, inputs: Inputs<'_>, out: &mut [f32], lse: Option<&mut [f32]>) {
    let Inputs { shape, cu_seqlens, qkv, dropout } = inputs;
    let sequences = Sequences::new(shape, cu_seqlens, qkv);
    assert_eq!(out.len(), sequences.queries() * shape.width(), "attention: out");
    // Whole sequences are the work items: each row of `out` belongs to one sequence, but its columns to all heads.
    let outs = sequences.split(out, shape.width());
    let lses: Vec<Option<&mut [f32]>> = match lse {
        Some(lse) => sequences.split(lse, shape.heads).into_iter().map(Some).collect(),
        None => (0..outs.len()).map(|_| None).collect(),
    };
    let items = outs.into_iter().zip(lses).enumerate().collect();
    threads.for_each(items, |(number, (out, lse)): (usize, (&mut [f32], Option<&mut [f32]>))| {
        let sequence = sequences.get(number);
        threads.instructions().0.dispatch(forward::Forward { sequence, shape, dropout, out, lse });
    });
}

/// Gradients of queries, keys and values from d_out `[queries, h]`, given what the forward pass left in `out` and `lse`.
///
/// The probabilities are recomputed from `lse`: one product and one exponential each, where keeping them would take
/// `[heads, keys]` numbers per query from the forward pass to the backward pass.
///
/// # Panics
/// If a length does not fit.
pub fn backward(
    threads: &Threads,
    inputs: Inputs<'_>,
    out: &[f32],
    lse: &[f32],
    d_out: &[f32],
    gradient: QkvGradient<'_>,
) {
    let Inputs { shape, cu_seqlens, qkv, dropout } = inputs;
    let (h, sequences) = (shape.width(), Sequences::new(shape, cu_seqlens, qkv));
    let queries = sequences.queries();
    assert_eq!([out.len(), d_out.len(), lse.len()], [queries * h, queries * h, queries * shape.heads], "attention");
    let items = sequences.targets(gradient).into_iter().enumerate().collect();
    threads.for_each(items, |(number, target): (usize, Target<'_>)| {
        let sequence = sequences.get(number);
        let rows = sequence.first_query..sequence.first_query + sequence.queries;
        let (out, d_out) = (&out[rows.start * h..rows.end * h], &d_out[rows.start * h..rows.end * h]);
        let lse = &lse[rows.start * shape.heads..rows.end * shape.heads];
        let work = backward::Backward { sequence, shape, dropout, out, d_out, lse, target };
        threads.instructions().0.dispatch(work);
    });
}

#[cfg(test)]
mod tests;
