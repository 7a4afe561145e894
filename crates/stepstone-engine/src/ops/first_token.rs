//! The first row of each sequence.

use crate::cpu_run::Run as CpuRun;
use crate::gradients::Gradients;
use crate::phases::Phase;
use crate::reference_run::Run;
use crate::value::Value;
use stepstone_kernels::{Write, rows};

/// `out[s] = x[cu_seqlens[s]]`. x `[T, h]`, out `[S, h]`.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the formula names them")]
pub struct FirstToken {
    pub x: Value,
    pub out: Value,
}

/// `d_x[cu_seqlens[s]] += d_out[s]`; if this is the first gradient of x, all other rows become 0.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the formula names them")]
pub struct FirstTokenBackward {
    pub d_out: Value,
    pub d_x: (Value, Write),
}

impl FirstToken {
    pub(crate) const PHASE: Phase = Phase::Other;

    pub(crate) fn reads(&self) -> Vec<Value> {
        vec![self.x]
    }

    pub(crate) fn writes(&self) -> Vec<Value> {
        vec![self.out]
    }

    pub(crate) fn backward(&self, gradients: &mut Gradients) -> Option<FirstTokenBackward> {
        let d_out = gradients.gradient(self.out)?;
        Some(FirstTokenBackward { d_out, d_x: gradients.target(self.x) })
    }

    pub(crate) fn reference(&self, run: &mut Run<'_>) {
        let h = run.columns(self.x);
        let firsts = run.batch.cu_seqlens[..run.batch.sequences()].iter();
        let out = firsts.flat_map(|row| run.get(self.x)[*row as usize * h..][..h].to_vec()).collect();
        run.set(self.out, out);
    }

    pub(crate) fn cpu(&self, run: &mut CpuRun<'_>) {
        let (columns, batch) = (run.columns(self.x), run.batch);
        let [x, out] = run.values([self.x, self.out]);
        rows::gather(columns, x, &batch.cu_seqlens[..batch.sequences()], out);
    }
}

impl FirstTokenBackward {
    pub(crate) const PHASE: Phase = Phase::Other;

    pub(crate) fn reads(&self) -> Vec<Value> {
        let (d_x, write) = self.d_x;
        [self.d_out].into_iter().chain((write == Write::Accumulate).then_some(d_x)).collect()
    }

    pub(crate) fn writes(&self) -> Vec<Value> {
        vec![self.d_x.0]
    }

    pub(crate) fn reference(&self, run: &mut Run<'_>) {
        let h = run.columns(self.d_out);
        let mut d_x = vec![0.0; run.batch.tokens() * h];
        for (s, d_row) in run.get(self.d_out).chunks_exact(h).enumerate() {
            d_x[run.batch.cu_seqlens[s] as usize * h..][..h].copy_from_slice(d_row);
        }
        run.write(self.d_x.0, self.d_x.1, d_x);
    }

    pub(crate) fn cpu(&self, run: &mut CpuRun<'_>) {
        let (columns, batch) = (run.columns(self.d_out), run.batch);
        let [d_out, d_x] = run.values([self.d_out, self.d_x.0]);
        // Other rows get no gradient from this op. As the first writer, the op clears what another value left in this
        // memory.
        if self.d_x.1 == Write::Overwrite {
            d_x.fill(0.0);
        }
        rows::scatter_add(columns, d_out, &batch.cu_seqlens[..batch.sequences()], d_x);
    }
}

#[cfg(test)]
mod tests {
    use crate::gradient_check::{LENGTHS, WIDTHS, check};
    use crate::value::Rows;

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

    /// Here the linear layer's gradient of x is written first, and the first token's gradient is added to it.
    #[test]
    fn gradient_of_a_shared_input_accumulates() {
        for lengths in LENGTHS {
            check("first token, x read twice", lengths, |b| {
                let x = b.input(Rows::Tokens, 7);
                let q = b.tape.first_token(x);
                let (weight, bias) = (b.matrix(14, 7), b.vector(14));
                let kv = b.tape.linear(x, weight, bias);
                b.tape.attention(crate::ops::attention::Qkv::FirstToken { q, kv }, 7, None)
            });
        }
    }
}
