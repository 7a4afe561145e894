//! Element-wise hyperbolic tangent.

use crate::cpu_run::Run as CpuRun;
use crate::gradients::Gradients;
use crate::phases::Phase;
use crate::reference_run::Run;
use crate::value::Value;
use stepstone_kernels::tanh;

/// out = tanh(x). Values `[R, h]`.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the formula names them")]
pub struct Tanh {
    pub x: Value,
    pub out: Value,
}

/// d_x = d_out * (1 - out^2), overwritten.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the formula names them")]
pub struct TanhBackward {
    pub out: Value,
    pub d_out: Value,
    pub d_x: Value,
}

impl Tanh {
    pub(crate) const PHASE: Phase = Phase::Other;

    pub(crate) fn reads(&self) -> Vec<Value> {
        vec![self.x]
    }

    pub(crate) fn writes(&self) -> Vec<Value> {
        vec![self.out]
    }

    pub(crate) fn backward(&self, gradients: &mut Gradients) -> Option<TanhBackward> {
        let d_out = gradients.gradient(self.out)?;
        // The derivative is 1 - out^2, so the output is kept instead of x.
        Some(TanhBackward { out: self.out, d_out, d_x: gradients.sole_target(self.x) })
    }

    pub(crate) fn reference(&self, run: &mut Run<'_>) {
        let out = run.get(self.x).iter().map(|x| x.tanh()).collect();
        run.set(self.out, out);
    }

    pub(crate) fn cpu(&self, run: &mut CpuRun<'_>) {
        let [x, out] = run.values([self.x, self.out]);
        tanh::forward(x, out);
    }
}

impl TanhBackward {
    pub(crate) const PHASE: Phase = Phase::Other;

    pub(crate) fn reads(&self) -> Vec<Value> {
        vec![self.out, self.d_out]
    }

    pub(crate) fn writes(&self) -> Vec<Value> {
        vec![self.d_x]
    }

    pub(crate) fn reference(&self, run: &mut Run<'_>) {
        let d_x = run.get(self.d_out).iter().zip(run.get(self.out)).map(|(d, y)| d * (1.0 - y * y)).collect();
        run.set(self.d_x, d_x);
    }

    pub(crate) fn cpu(&self, run: &mut CpuRun<'_>) {
        let [out, d_out, d_x] = run.values([self.out, self.d_out, self.d_x]);
        tanh::backward(d_out, out, d_x);
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
                check(&format!("tanh of {columns}"), lengths, |b| {
                    let x = b.input(Rows::Sequences, columns);
                    b.tape.tanh(x)
                });
            }
        }
    }
}
