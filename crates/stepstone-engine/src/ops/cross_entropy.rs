//! Softmax cross-entropy of one row of logits per example.

use crate::cpu_run::Run as CpuRun;
use crate::gradients::Gradients;
use crate::phases::Phase;
use crate::reference_run::Run;
use crate::value::Value;
use stepstone_kernels::cross_entropy;

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
    pub(crate) const PHASE: Phase = Phase::Other;

    pub(crate) fn reads(&self) -> Vec<Value> {
        vec![self.logits]
    }

    pub(crate) fn writes(&self) -> Vec<Value> {
        vec![self.probabilities, self.losses]
    }

    pub(crate) fn backward(&self, gradients: &mut Gradients) -> Option<CrossEntropyBackward> {
        // Gradients start at the loss, so no gradient of it is stored; loss_scale takes its place.
        gradients.is_loss(self.losses).then(|| {
            let d_logits = gradients.sole_target(self.logits);
            CrossEntropyBackward { probabilities: self.probabilities, d_logits }
        })
    }

    pub(crate) fn reference(&self, run: &mut Run<'_>) {
        let classes = run.columns(self.logits);
        let (mut probabilities, mut losses) = (Vec::new(), Vec::new());
        for (row, label) in run.get(self.logits).chunks_exact(classes).zip(&run.batch.labels) {
            // The largest logit is subtracted, so that no exponential overflows.
            let max = row.iter().fold(f64::NEG_INFINITY, |a, b| a.max(*b));
            let sum: f64 = row.iter().map(|z| (z - max).exp()).sum();
            probabilities.extend(row.iter().map(|z| (z - max).exp() / sum));
            // Not the logarithm of the probability, which may have underflowed to 0.
            losses.push(max + sum.ln() - row[*label as usize]);
        }
        run.set(self.probabilities, probabilities);
        run.set(self.losses, losses);
    }

    pub(crate) fn cpu(&self, run: &mut CpuRun<'_>) {
        let (classes, batch) = (run.columns(self.logits), run.batch);
        let [logits, probabilities, losses] = run.values([self.logits, self.probabilities, self.losses]);
        cross_entropy::forward(classes, logits, &batch.labels, probabilities, losses);
    }
}

impl CrossEntropyBackward {
    pub(crate) const PHASE: Phase = Phase::Other;

    pub(crate) fn reads(&self) -> Vec<Value> {
        vec![self.probabilities]
    }

    pub(crate) fn writes(&self) -> Vec<Value> {
        vec![self.d_logits]
    }

    pub(crate) fn reference(&self, run: &mut Run<'_>) {
        let classes = run.columns(self.probabilities);
        let mut d_logits = run.get(self.probabilities).to_vec();
        for (row, label) in d_logits.chunks_exact_mut(classes).zip(&run.batch.labels) {
            row[*label as usize] -= 1.0;
            row.iter_mut().for_each(|d| *d *= run.scalars.loss_scale);
        }
        run.set(self.d_logits, d_logits);
    }

    pub(crate) fn cpu(&self, run: &mut CpuRun<'_>) {
        let (classes, batch) = (run.columns(self.probabilities), run.batch);
        let scale = run.scalars.loss_scale as f32;
        let [probabilities, d_logits] = run.values([self.probabilities, self.d_logits]);
        cross_entropy::backward(classes, probabilities, &batch.labels, scale, d_logits);
    }
}

#[cfg(test)]
mod tests {
    use crate::gradient_check::{CLASSES, LENGTHS, check_loss};
    use crate::value::Rows;

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
