//! The scores of an example's choices, side by side.

use crate::reference::Run;
use crate::tape::Backward;
use crate::{Op, Value};

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
    pub(crate) fn values(&self) -> Vec<Value> {
        vec![self.x, self.out]
    }

    pub(crate) fn backward(&self, backward: &mut Backward) -> Option<Op> {
        let d_out = backward.gradient(self.out)?;
        Some(Op::ChoicesBackward(ChoicesBackward { d_out, d_x: backward.sole_target(self.x) }))
    }

    pub(crate) fn reference(&self, run: &mut Run) {
        let scores = run.get(self.x).to_vec();
        run.set(self.out, scores);
    }
}

impl ChoicesBackward {
    pub(crate) fn values(&self) -> Vec<Value> {
        vec![self.d_out, self.d_x]
    }

    pub(crate) fn reference(&self, run: &mut Run) {
        let d_scores = run.get(self.d_out).to_vec();
        run.set(self.d_x, d_scores);
    }
}

#[cfg(test)]
mod tests {
    use crate::Rows;
    use crate::gradient_check::{CLASSES, check, check_loss};

    /// Sequences of a batch of 0, 1 and 3 questions with two choices, and of 1 and 2 with three.
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
