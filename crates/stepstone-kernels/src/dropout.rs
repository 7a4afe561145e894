//! Dropout alone; the backward pass is the same call on the gradient.

use crate::philox::Dropout;
use crate::simd::vectorize;
use crate::threads::Threads;

const BLOCK: usize = 64;

/// y = x * multipliers, by rows of `columns`; row r has key `row_keys[r]`.
///
/// # Panics
/// If the lengths do not fit.
pub fn apply(threads: &Threads, columns: usize, x: &[f32], dropout: &Dropout, row_keys: &[u32], y: &mut [f32]) {
    assert_eq!((x.len(), y.len()), (row_keys.len() * columns, row_keys.len() * columns), "dropout: lengths");
    let blocks = x.chunks(BLOCK * columns).zip(y.chunks_mut(BLOCK * columns)).zip(row_keys.chunks(BLOCK)).collect();
    threads.for_each(blocks, |((x, y), keys): ((&[f32], &mut [f32]), &[u32])| {
        vectorize(
            #[inline(always)]
            || {
                for ((x, y), key) in x.chunks_exact(columns).zip(y.chunks_exact_mut(columns)).zip(keys) {
                    dropout.fill(*key, y);
                    y.iter_mut().zip(x).for_each(|(y, x)| *y *= x);
                }
            },
        );
    });
}
