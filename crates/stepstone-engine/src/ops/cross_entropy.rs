//! Softmax cross-entropy of one row of logits per example.

use crate::reference::Run;
use crate::tape::Backward;
use crate::{Op, Value};

/// probabilities = softmax(logits) by row `[E, classes]`; losses = -ln probability of the label `[E, 1]`.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the formula names them")]
pub struct CrossEntropy {
    pub logits: Value,
    pub probabilities: Value,
    pub losses: Value,
}

/// d_logits = (probabilities - one_hot(label)) * loss_scale, overwritten; loss_scale is 1 / examples of the step.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the formula names them")]
pub struct CrossEntropyBackward {
    pub probabilities: Value,
    pub d_logits: Value,
}

impl CrossEntropy {
    pub(crate) fn values(&self) -> Vec<Value> {
        vec![self.logits, self.probabilities, self.losses]
    }

    pub(crate) fn backward(&self, backward: &mut Backward) -> Option<Op> {
        backward.is_loss(self.losses).then(|| {
            let d_logits = backward.sole_target(self.logits);
            Op::CrossEntropyBackward(CrossEntropyBackward { probabilities: self.probabilities, d_logits })
        })
    }

    pub(crate) fn reference(&self, run: &mut Run) {
        let classes = run.columns(self.logits);
        let (mut probabilities, mut losses) = (Vec::new(), Vec::new());
        for (row, label) in run.get(self.logits).chunks_exact(classes).zip(&run.batch.labels) {
            let max = row.iter().fold(f64::NEG_INFINITY, |a, b| a.max(*b));
            let sum: f64 = row.iter().map(|z| (z - max).exp()).sum();
            probabilities.extend(row.iter().map(|z| (z - max).exp() / sum));
            losses.push(max + sum.ln() - row[*label as usize]);
        }
        run.set(self.probabilities, probabilities);
        run.set(self.losses, losses);
    }
}

impl CrossEntropyBackward {
    pub(crate) fn values(&self) -> Vec<Value> {
        vec![self.probabilities, self.d_logits]
    }

    pub(crate) fn reference(&self, run: &mut Run) {
        let classes = run.columns(self.probabilities);
        let mut d_logits = run.get(self.probabilities).to_vec();
        for (row, label) in d_logits.chunks_exact_mut(classes).zip(&run.batch.labels) {
            row[*label as usize] -= 1.0;
            row.iter_mut().for_each(|d| *d *= run.loss_scale);
        }
        run.set(self.d_logits, d_logits);
    }
}

#[cfg(test)]
mod tests {
    use crate::Rows;
    use crate::gradient_check::{CLASSES, LENGTHS, check_loss};

    #[test]
    fn gradients_are_slopes_and_kernels_follow() {
        for lengths in LENGTHS {
            for classes in [CLASSES, 7, 31] {
                check_loss(&format!("cross-entropy of {classes} classes"), lengths, |b| {
                    let logits = b.input(Rows::Sequences, classes);
                    b.tape.cross_entropy(logits)
                });
            }
        }
    }
}
