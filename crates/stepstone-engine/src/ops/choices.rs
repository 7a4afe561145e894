//! The scores of an example's choices as one row.

use crate::cpu_run::Run as CpuRun;
use crate::gradients::Gradients;
use crate::phases::Phase;
use crate::reference_run::Run;
use crate::value::Value;

/// out[e, c] = x[e * choices + c]: the same numbers in the same order. x `[S, 1]`, out `[S / choices, choices]`.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the formula names them")]
pub struct Choices {
    pub x: Value,
    pub out: Value,
}

/// d_x[e * choices + c] = d_out[e, c], overwritten.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the formula names them")]
pub struct ChoicesBackward {
    pub d_out: Value,
    pub d_x: Value,
}

impl Choices {
    pub(crate) const PHASE: Phase = Phase::Other;

    pub(crate) fn reads(&self) -> Vec<Value> {
        vec![self.x]
    }

    pub(crate) fn writes(&self) -> Vec<Value> {
        vec![self.out]
    }

    pub(crate) fn backward(&self, gradients: &mut Gradients) -> Option<ChoicesBackward> {
        let d_out = gradients.gradient(self.out)?;
        // Only this op reads the scores, so their gradient is overwritten.
        Some(ChoicesBackward { d_out, d_x: gradients.sole_target(self.x) })
    }

    pub(crate) fn reference(&self, run: &mut Run<'_>) {
        let scores = run.get(self.x).to_vec();
        run.set(self.out, scores);
    }

    pub(crate) fn cpu(&self, run: &mut CpuRun<'_>) {
        // A copy of a few numbers is cheap; with an alias, one value would have two shapes and two lifetimes.
        let [x, out] = run.values([self.x, self.out]);
        out.copy_from_slice(x);
    }
}

impl ChoicesBackward {
    pub(crate) const PHASE: Phase = Phase::Other;

    pub(crate) fn reads(&self) -> Vec<Value> {
        vec![self.d_out]
    }

    pub(crate) fn writes(&self) -> Vec<Value> {
        vec![self.d_x]
    }

    pub(crate) fn reference(&self, run: &mut Run<'_>) {
        let d_scores = run.get(self.d_out).to_vec();
        run.set(self.d_x, d_scores);
    }

    pub(crate) fn cpu(&self, run: &mut CpuRun<'_>) {
        let [d_out, d_x] = run.values([self.d_out, self.d_x]);
        d_x.copy_from_slice(d_out);
    }
}

#[cfg(test)]
mod tests {
    use crate::gradient_check::{CLASSES, check, check_loss};
    use crate::value::Rows;

    /// Choices per question and sequence lengths: 0, 1 and 3 questions with two choices, 1 and 2 questions with three.
    const BATCHES: [(usize, &[usize]); 5] =
        [(2, &[]), (2, &[7, 1]), (2, &[1, 1, 5, 31, 2, 3]), (CLASSES, &[1, 7, 2]), (CLASSES, &[5, 1, 31, 1, 1, 7])];

    #[test]
    fn gradients_are_slopes_and_kernels_follow() {
        for (choices, lengths) in BATCHES {
            check(&format!("{choices} choices"), lengths, |b| {
                let scores = b.input(Rows::Sequences, 1);
                b.tape.choices(scores, choices)
            });
        }
    }

    #[test]
    fn cross_entropy_is_over_the_choices_of_one_example() {
        for (choices, lengths) in BATCHES.into_iter().filter(|(choices, _)| *choices == CLASSES) {
            check_loss(&format!("cross-entropy over {choices} choices"), lengths, |b| {
                let scores = b.input(Rows::Sequences, 1);
                let logits = b.tape.choices(scores, choices);
                b.tape.cross_entropy(logits)
            });
        }
    }
}
