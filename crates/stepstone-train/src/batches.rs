//! Which examples a step sees, and how they are packed.

use crate::error::TrainError;
use stepstone_engine::{Batch, PackError, Sequence, rng};
use stepstone_tasks::{Example, Feature, Tokenizer};

/// Counter stream of the shuffles; the epoch is added.
const SHUFFLE_STREAM: u32 = 1 << 16;

/// The tokenised examples of a split.
#[derive(Debug)]
pub(crate) struct Split {
    /// `[examples * choices]`, those of one example side by side.
    pub(crate) features: Vec<Feature>,
    /// Sequences of every example.
    pub(crate) choices: usize,
    /// `[examples]`
    pub(crate) gold: Vec<u32>,
    /// Share of sequences that were cut, 0..1.
    pub(crate) truncated: f64,
}

impl Split {
    /// Tokenises examples of `choices` sequences each.
    ///
    /// # Errors
    /// If the tokenizer fails, or a sequence is longer than the encoder's `positions`.
    pub(crate) fn new(
        examples: &[Example],
        choices: usize,
        tokenizer: &Tokenizer,
        positions: usize,
    ) -> Result<Self, TrainError> {
        let features = examples.iter().map(|e| tokenizer.encode(&e.text)).collect::<Result<Vec<_>, _>>()?.concat();
        let longest = features.iter().map(|feature| feature.ids.len()).max().unwrap_or(0);
        if longest > positions {
            return Err(TrainError::Recipe {
                key: "max_length",
                found: format!("{} for each text, which makes an input of {longest} tokens", tokenizer.max_length()),
                expected: format!("inputs of at most {positions} tokens, the positions of the encoder"),
            });
        }
        let cut = features.iter().filter(|feature| feature.truncated).count();
        let gold = examples.iter().map(|example| example.gold.unwrap_or_default()).collect();
        Ok(Self { truncated: cut as f64 / features.len().max(1) as f64, features, choices, gold })
    }

    /// Packs the examples of `rows`, the first of which has the number `first` within its step.
    pub(crate) fn pack(&self, rows: &[u32], first: usize, shape: PackShape) -> Result<Batch, PackError> {
        let features: Vec<&Feature> = rows.iter().flat_map(|row| self.of_example(*row as usize)).collect();
        let zeros = vec![0; features.iter().map(|feature| feature.ids.len()).max().unwrap_or(0)];
        let sequences = features.into_iter().map(|feature| {
            let type_ids = if shape.one_segment { &zeros[..feature.ids.len()] } else { &feature.type_ids };
            Sequence { ids: &feature.ids, type_ids }
        });
        let sequences: Vec<Sequence> = sequences.collect();
        let labels: Vec<u32> = rows.iter().map(|row| self.gold[*row as usize]).collect();
        Batch::pack(&sequences, &labels, shape.position_offset, first * self.choices)
    }

    /// The sequences of one example.
    fn of_example(&self, row: usize) -> &[Feature] {
        &self.features[row * self.choices..][..self.choices]
    }
}

/// What an encoder's family decides about packing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PackShape {
    pub(crate) position_offset: u32,
    pub(crate) one_segment: bool,
}

/// The order of training examples: a new permutation each epoch, a function of seed and epoch alone.
#[derive(Debug)]
pub(crate) struct Order {
    seed: u64,
    examples: usize,
    batch_size: usize,
    current: Option<(u64, Vec<u32>)>,
}

impl Order {
    pub(crate) fn new(seed: u64, examples: usize, batch_size: usize) -> Self {
        Self { seed, examples, batch_size, current: None }
    }

    /// The examples of step `step`, counted from 0; the last batch of an epoch may be smaller.
    pub(crate) fn step(&mut self, step: u64) -> Vec<u32> {
        let steps_per_epoch = self.examples.div_ceil(self.batch_size) as u64;
        let (epoch, place) = (step / steps_per_epoch, (step % steps_per_epoch) as usize);
        if self.current.as_ref().is_none_or(|(current, _)| *current != epoch) {
            let stream = SHUFFLE_STREAM + epoch as u32;
            self.current = Some((epoch, rng::permutation(self.seed, stream, self.examples)));
        }
        let order = self.current.iter().flat_map(|(_, order)| order);
        order.skip(place * self.batch_size).take(self.batch_size).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_shows_every_example_once_and_any_step_can_be_asked_first() {
        let mut order = Order::new(3, 10, 4);
        let steps: Vec<Vec<u32>> = (0..6).map(|step| order.step(step)).collect();
        for epoch in steps.chunks(3) {
            let mut seen: Vec<u32> = epoch.concat();
            seen.sort_unstable();
            assert_eq!(seen, (0..10).collect::<Vec<u32>>());
        }
        assert_ne!(steps[..3], steps[3..]);
        assert_eq!(Order::new(3, 10, 4).step(5), steps[5]);
    }
}
