//! Embedding: the sum of a word, a position and a segment row per token.

use crate::simd::vectorize;
use crate::threads::Threads;

const BLOCK: usize = 64;

/// out[t] = word[ids[t]] + position[positions[t]] + token_type[type_ids[t]], rows of `hidden`.
///
/// # Panics
/// If a row lies outside its table or a length does not fit.
#[expect(clippy::too_many_arguments, reason = "three tables, three index lists")]
pub fn forward(
    threads: &Threads,
    hidden: usize,
    ids: &[u32],
    positions: &[u32],
    type_ids: &[u32],
    word: &[f32],
    position: &[f32],
    token_type: &[f32],
    out: &mut [f32],
) {
    let tokens = ids.len();
    assert_eq!([positions.len(), type_ids.len(), out.len()], [tokens, tokens, tokens * hidden], "embedding: lengths");
    let blocks = out.chunks_mut(BLOCK * hidden).enumerate().collect();
    threads.for_each(blocks, |(number, out): (usize, &mut [f32])| {
        vectorize(
            threads.instructions(),
            #[inline(always)]
            || {
                for (r, out) in out.chunks_exact_mut(hidden).enumerate() {
                    let t = number * BLOCK + r;
                    let (w, p) = (row(word, hidden, ids[t]), row(position, hidden, positions[t]));
                    let s = row(token_type, hidden, type_ids[t]);
                    for c in 0..hidden {
                        out[c] = w[c] + p[c] + s[c];
                    }
                }
            },
        );
    });
}

/// Adds each token's gradient row to the three rows it read, in token order; the word row `padding_index` gets none.
///
/// # Panics
/// If a row lies outside its table or a length does not fit.
#[expect(clippy::too_many_arguments, reason = "three tables, three index lists")]
pub fn backward(
    threads: &Threads,
    hidden: usize,
    d_out: &[f32],
    ids: &[u32],
    positions: &[u32],
    type_ids: &[u32],
    padding_index: Option<u32>,
    d_word: &mut [f32],
    d_position: &mut [f32],
    d_token_type: &mut [f32],
) {
    assert_eq!(d_out.len(), ids.len() * hidden, "embedding: lengths");
    vectorize(
        threads.instructions(),
        #[inline(always)]
        || {
            for (t, d_row) in d_out.chunks_exact(hidden).enumerate() {
                if Some(ids[t]) != padding_index {
                    add(d_word, hidden, ids[t], d_row);
                }
                add(d_position, hidden, positions[t], d_row);
                add(d_token_type, hidden, type_ids[t], d_row);
            }
        },
    );
}

#[inline(always)]
fn row(table: &[f32], hidden: usize, index: u32) -> &[f32] {
    &table[index as usize * hidden..][..hidden]
}

#[inline(always)]
fn add(table: &mut [f32], hidden: usize, index: u32, d_row: &[f32]) {
    table[index as usize * hidden..][..hidden].iter_mut().zip(d_row).for_each(|(g, d)| *g += d);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{random, same_bits};

    #[test]
    fn sums_rows_and_scatters_in_token_order() {
        for (tokens, hidden) in [(0, 8), (1, 7), (97, 9), (200, 31)] {
            let index = |step: usize, rows: usize| (0..tokens).map(|t| (t * step % rows) as u32).collect::<Vec<_>>();
            let (ids, positions, types) = (index(5, 11), index(1, 13), index(3, 2));
            let (word, position, kind) = (random(1, 11 * hidden), random(2, 13 * hidden), random(3, 2 * hidden));
            let out = same_bits(|threads| {
                let mut out = vec![f32::NAN; tokens * hidden];
                forward(threads, hidden, &ids, &positions, &types, &word, &position, &kind, &mut out);
                out
            });
            let d_out = random(4, tokens * hidden);
            let start = [random(5, 11 * hidden), random(6, 13 * hidden), random(7, 2 * hidden)];
            let mut got = start.clone();
            let [d_word, d_position, d_kind] = &mut got;
            backward(
                &Threads::new(1).unwrap(),
                hidden,
                &d_out,
                &ids,
                &positions,
                &types,
                Some(3),
                d_word,
                d_position,
                d_kind,
            );
            let mut want = start;
            for t in 0..tokens {
                for c in 0..hidden {
                    let at = [ids[t], positions[t], types[t]].map(|row| row as usize * hidden + c);
                    assert_eq!(out[t * hidden + c], word[at[0]] + position[at[1]] + kind[at[2]]);
                    for table in 0..3 {
                        if table > 0 || ids[t] != 3 {
                            want[table][at[table]] += d_out[t * hidden + c];
                        }
                    }
                }
            }
            assert_eq!(got, want, "{tokens} tokens of {hidden}");
        }
    }
}
