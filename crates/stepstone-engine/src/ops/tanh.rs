//! Element-wise hyperbolic tangent.

use crate::reference::Run;
use crate::tape::Backward;
use crate::{Op, Value};

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
    pub(crate) fn values(&self) -> Vec<Value> {
        vec![self.x, self.out]
    }

    pub(crate) fn backward(&self, backward: &mut Backward) -> Option<Op> {
        let d_out = backward.gradient(self.out)?;
        Some(Op::TanhBackward(TanhBackward { out: self.out, d_out, d_x: backward.sole_target(self.x) }))
    }

    pub(crate) fn reference(&self, run: &mut Run) {
        let out = run.get(self.x).iter().map(|x| x.tanh()).collect();
        run.set(self.out, out);
    }
}

impl TanhBackward {
    pub(crate) fn values(&self) -> Vec<Value> {
        vec![self.out, self.d_out, self.d_x]
    }

    pub(crate) fn reference(&self, run: &mut Run) {
        let d_x = run.get(self.d_out).iter().zip(run.get(self.out)).map(|(d, y)| d * (1.0 - y * y)).collect();
        run.set(self.d_x, d_x);
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
                check(&format!("tanh of {columns}"), lengths, |b| {
                    let x = b.input(Rows::Sequences, columns);
                    b.tape.tanh(x)
                });
            }
        }
    }
}
