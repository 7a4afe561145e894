//! Embedding: the sum of a word, a position and a token-type row per token.

use crate::simd::vectorize;
use crate::threads::Threads;

/// Tokens of one work item: enough that handing it out costs little, few enough to spread a batch over the threads.
const BLOCK: usize = 64;

/// Row numbers into the three tables, one per token: `[tokens]` each.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "one list per table")]
pub struct Indices<'a> {
    pub ids: &'a [u32],
    pub positions: &'a [u32],
    pub type_ids: &'a [u32],
}

/// The three tables, `[entries, hidden]` each, or their gradients.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Tables<T> {
    pub word: T,
    pub position: T,
    pub token_type: T,
}

/// `out[t] = word[ids[t]] + position[positions[t]] + token_type[type_ids[t]]`, rows of `hidden`.
///
/// # Panics
/// If a row lies outside its table or a length does not fit.
pub fn forward(threads: &Threads, hidden: usize, indices: Indices<'_>, tables: Tables<&[f32]>, out: &mut [f32]) {
    let Indices { ids, positions, type_ids } = indices;
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
                    let (w, p) = (row(tables.word, hidden, ids[t]), row(tables.position, hidden, positions[t]));
                    let s = row(tables.token_type, hidden, type_ids[t]);
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
/// One thread: tokens that share a row must add to it in order, and the pass is short beside the matrix products of a step.
///
/// # Panics
/// If a row lies outside its table or a length does not fit.
pub fn backward(
    threads: &Threads,
    hidden: usize,
    d_out: &[f32],
    indices: Indices<'_>,
    padding_index: Option<u32>,
    gradients: Tables<&mut [f32]>,
) {
    let Indices { ids, positions, type_ids } = indices;
    let Tables { word, position, token_type } = gradients;
    let tokens = ids.len();
    assert_eq!([positions.len(), type_ids.len(), d_out.len()], [tokens, tokens, tokens * hidden], "embedding: lengths");
    vectorize(
        threads.instructions(),
        #[inline(always)]
        || {
            for (t, d_row) in d_out.chunks_exact(hidden).enumerate() {
                if Some(ids[t]) != padding_index {
                    add(word, hidden, ids[t], d_row);
                }
                add(position, hidden, positions[t], d_row);
                add(token_type, hidden, type_ids[t], d_row);
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
        // Up to 200 tokens, which are several work items of 64, and widths that no vector divides.
        for (tokens, hidden) in [(0, 8), (1, 7), (97, 9), (200, 31)] {
            let index = |step: usize, rows: usize| (0..tokens).map(|t| (t * step % rows) as u32).collect::<Vec<_>>();
            let (ids, positions, types) = (index(5, 11), index(1, 13), index(3, 2));
            let (word, position, kind) = (random(1, 11 * hidden), random(2, 13 * hidden), random(3, 2 * hidden));
            let indices = Indices { ids: &ids, positions: &positions, type_ids: &types };
            let out = same_bits(|threads| {
                let mut out = vec![f32::NAN; tokens * hidden];
                let tables = Tables { word: &word[..], position: &position, token_type: &kind };
                forward(threads, hidden, indices, tables, &mut out);
                out
            });
            let d_out = random(4, tokens * hidden);
            let start = [random(5, 11 * hidden), random(6, 13 * hidden), random(7, 2 * hidden)];
            let mut got = start.clone();
            let [word_rows, position_rows, kind_rows] = &mut got;
            let gradients = Tables { word: &mut word_rows[..], position: position_rows, token_type: kind_rows };
            backward(&Threads::new(1).unwrap(), hidden, &d_out, indices, Some(3), gradients);
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
