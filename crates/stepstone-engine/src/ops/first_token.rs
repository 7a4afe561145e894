//! The first row of each sequence.

use crate::reference::Run;
use crate::tape::{Backward, Write};
use crate::{Op, Value};

/// out[s] = x[cu_seqlens[s]]. x `[T, h]`, out `[S, h]`.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the formula names them")]
pub struct FirstToken {
    pub x: Value,
    pub out: Value,
}

/// d_x[cu_seqlens[s]] += d_out[s]; where this is the first gradient of x, the other rows become 0.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the formula names them")]
pub struct FirstTokenBackward {
    pub d_out: Value,
    pub d_x: (Value, Write),
}

impl FirstToken {
    pub(crate) fn values(&self) -> Vec<Value> {
        vec![self.x, self.out]
    }

    pub(crate) fn backward(&self, backward: &mut Backward) -> Option<Op> {
        let d_out = backward.gradient(self.out)?;
        Some(Op::FirstTokenBackward(FirstTokenBackward { d_out, d_x: backward.target(self.x) }))
    }

    pub(crate) fn reference(&self, run: &mut Run) {
        let h = run.columns(self.x);
        let firsts = run.batch.cu_seqlens[..run.batch.sequences()].iter();
        let out = firsts.flat_map(|row| run.get(self.x)[*row as usize * h..][..h].to_vec()).collect();
        run.set(self.out, out);
    }
}

impl FirstTokenBackward {
    pub(crate) fn values(&self) -> Vec<Value> {
        vec![self.d_out, self.d_x.0]
    }

    pub(crate) fn reference(&self, run: &mut Run) {
        let h = run.columns(self.d_out);
        let mut d_x = vec![0.0; run.batch.tokens() * h];
        for (s, d_row) in run.get(self.d_out).chunks_exact(h).enumerate() {
            d_x[run.batch.cu_seqlens[s] as usize * h..][..h].copy_from_slice(d_row);
        }
        run.write(self.d_x.0, self.d_x.1, d_x);
    }
}

#[cfg(test)]
mod tests {
    use crate::Rows;
    use crate::gradient_check::{LENGTHS, WIDTHS, check};

    #[test]
    fn gradients_are_slopes_and_kernels_follow() {
        for lengths in LENGTHS {
            for columns in WIDTHS {
                check(&format!("first token of {columns}"), lengths, |b| {
                    let x = b.input(Rows::Tokens, columns);
                    b.tape.first_token(x)
                });
            }
        }
    }

    /// The linear layer's gradient of x comes first here, and that of the first token is added to it.
    #[test]
    fn gradient_of_a_shared_input_accumulates() {
        for lengths in LENGTHS {
            check("first token, x read twice", lengths, |b| {
                let x = b.input(Rows::Tokens, 7);
                let q = b.tape.first_token(x);
                let (weight, bias) = (b.matrix(14, 7), b.vector(14));
                let kv = b.tape.linear(x, weight, bias);
                b.tape.attention(crate::ops::Qkv::FirstToken { q, kv }, 7, None)
            });
        }
    }
}
