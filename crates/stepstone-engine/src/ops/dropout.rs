//! Dropout alone.

use crate::reference::Run;
use crate::tape::{Backward, DropoutSite};
use crate::{Op, Value};

/// out = x * multiplier, 0 or 1 / keep probability, keyed by (row key, column, site, step). Values `[R, h]`.
/// The gradient goes through the same op: d_x = d_out * multiplier.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the formula names them")]
pub struct Dropout {
    pub x: Value,
    pub dropout: DropoutSite,
    pub out: Value,
}

impl Dropout {
    pub(crate) fn values(&self) -> Vec<Value> {
        vec![self.x, self.out]
    }

    pub(crate) fn backward(&self, backward: &mut Backward) -> Option<Op> {
        let d_out = backward.gradient(self.out)?;
        Some(Op::Dropout(Self { x: d_out, dropout: self.dropout, out: backward.sole_target(self.x) }))
    }

    pub(crate) fn reference(&self, run: &mut Run) {
        let out = run.masked(self.x, Some(self.dropout));
        run.set(self.out, out);
    }
}

#[cfg(test)]
mod tests {
    use crate::gradient_check::{LENGTHS, WIDTHS, check};
    use crate::{DropoutSite, Rows, Site};

    #[test]
    fn gradients_are_slopes_and_kernels_follow() {
        for lengths in LENGTHS {
            for columns in WIDTHS {
                for rows in [Rows::Tokens, Rows::Sequences] {
                    check(&format!("dropout on {rows:?} of {columns}"), lengths, |b| {
                        let x = b.input(rows, columns);
                        b.tape.dropout(x, DropoutSite { probability: 0.4, site: Site(320) })
                    });
                }
            }
        }
    }
}
