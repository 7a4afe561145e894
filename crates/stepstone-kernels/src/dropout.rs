//! Dropout alone; the backward pass is the same call on the gradient.

use crate::philox::Dropout;
use crate::simd::vectorize;
use crate::threads::Threads;

/// Rows of one work item.
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
            threads.instructions(),
            #[inline(always)]
            || {
                for ((x, y), key) in x.chunks_exact(columns).zip(y.chunks_exact_mut(columns)).zip(keys) {
                    // The multipliers go into y first; a separate buffer would be one more to read.
                    dropout.fill(*key, y);
                    y.iter_mut().zip(x).for_each(|(y, x)| *y *= x);
                }
            },
        );
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{random, same_bits};

    #[test]
    fn is_the_product_with_the_multipliers() {
        let dropout = Dropout::new(0.25, 1, 2, 3).unwrap();
        for rows in [0, 1, 7, 97] {
            for columns in [1, 7, 8, 9, 31, 200] {
                let x = random(1, rows * columns);
                let row_keys: Vec<u32> = (0..rows as u32).map(|r| 3 * r + 1).collect();
                let y = same_bits(|threads| {
                    let mut y = vec![f32::NAN; x.len()];
                    apply(threads, columns, &x, &dropout, &row_keys, &mut y);
                    y
                });
                let mut want = vec![0.0; x.len()];
                for ((x, want), key) in x.chunks(columns).zip(want.chunks_mut(columns)).zip(&row_keys) {
                    dropout.multipliers(*key, want);
                    want.iter_mut().zip(x).for_each(|(want, x)| *want *= x);
                }
                assert_eq!(y, want, "{rows} x {columns}");
            }
        }
    }
}
