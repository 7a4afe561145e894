//! Dropout alone.

use crate::cpu_run::Run as CpuRun;
use crate::gradients::Gradients;
use crate::phases::Phase;
use crate::reference_run::Run;
use crate::site::DropoutSite;
use crate::value::Value;
use stepstone_kernels::dropout;

/// out = x * multiplier, values `[R, h]`. A multiplier is 0 or 1 / keep probability, keyed by (row key, column, site,
/// step). The gradient goes through the same op: d_x = d_out * multiplier.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the formula names them")]
pub struct Dropout {
    pub x: Value,
    pub dropout: DropoutSite,
    pub out: Value,
}

impl Dropout {
    pub(crate) const PHASE: Phase = Phase::Other;

    pub(crate) fn reads(&self) -> Vec<Value> {
        vec![self.x]
    }

    pub(crate) fn writes(&self) -> Vec<Value> {
        vec![self.out]
    }

    pub(crate) fn backward(&self, gradients: &mut Gradients) -> Option<Self> {
        let d_out = gradients.gradient(self.out)?;
        // The masks are regenerated from their counters, so none is stored.
        Some(Self { x: d_out, dropout: self.dropout, out: gradients.sole_target(self.x) })
    }

    pub(crate) fn reference(&self, run: &mut Run<'_>) {
        let out = run.masked(self.x, Some(self.dropout));
        run.set(self.out, out);
    }

    pub(crate) fn cpu(&self, run: &mut CpuRun<'_>) {
        let (threads, columns) = (run.threads, run.columns(self.x));
        let mask = run.mask(Some(self.dropout), self.x);
        let [x, out] = run.values([self.x, self.out]);
        match mask {
            Some((mask, keys)) => dropout::apply(threads, columns, x, &mask, keys, out),
            // The probability is too small for 16-bit random numbers, so nothing is dropped.
            None => out.copy_from_slice(x),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::gradient_check::{LENGTHS, WIDTHS, check};
    use crate::site::{DropoutSite, Site};
    use crate::value::Rows;

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
