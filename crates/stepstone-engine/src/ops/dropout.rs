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
        Some(Op::Dropout(Dropout { x: d_out, dropout: self.dropout, out: backward.sole_target(self.x) }))
    }

    pub(crate) fn reference(&self, run: &mut Run) {
        let out = run.masked(self.x, Some(self.dropout));
        run.set(self.out, out);
    }
}
