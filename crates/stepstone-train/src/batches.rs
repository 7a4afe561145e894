//! The order of training examples, and how examples are packed into batches.

use crate::error::TrainError;
use std::path::Path;
use stepstone_engine::{Batch, PackError, Sequence, rng};
use stepstone_models::EncoderConfig;
use stepstone_tasks::{Example, Feature, Tokenizer};

/// Counter stream of the shuffles; the epoch is added.
const SHUFFLE_STREAM: u32 = 1 << 16;

/// The tokenised examples of a split.
#[derive(Debug)]
pub(crate) struct Split {
    /// `[examples * choices]`; the sequences of one example are adjacent.
    pub(crate) features: Vec<Feature>,
    /// Sequences of every example.
    pub(crate) choices: usize,
    /// `[examples]`
    pub(crate) gold: Vec<u32>,
    /// Share of sequences that were cut, 0..1.
    pub(crate) truncated: f64,
}

impl Split {
    /// Tokenises examples of `choices` sequences each for the encoder in `folder`, which `config` describes.
    ///
    /// Every text that a model sees comes through here: devices panic on an id or a position outside its table.
    ///
    /// # Errors
    /// If the tokenizer fails, a sequence is longer than the encoder's positions, or an id lies outside its vocabulary.
    pub(crate) fn new(
        examples: &[Example],
        choices: usize,
        tokenizer: &Tokenizer,
        (config, folder): (&EncoderConfig, &Path),
    ) -> Result<Self, TrainError> {
        let features = examples.iter().map(|e| tokenizer.encode(&e.text)).collect::<Result<Vec<_>, _>>()?.concat();
        // The whole split is checked before the first step, so that no run fails halfway.
        let longest = features.iter().map(|feature| feature.ids.len()).max().unwrap_or(0);
        let positions = config.usable_positions();
        if longest > positions {
            return Err(TrainError::Recipe {
                key: "max_length",
                found: format!("{} for each text, which makes an input of {longest} tokens", tokenizer.max_length()),
                expected: format!("inputs of at most {positions} tokens, the positions of the encoder"),
            });
        }
        for (example, features) in examples.iter().zip(features.chunks(choices)) {
            let mut ids = features.iter().flat_map(|feature| &feature.ids);
            if let Some(id) = ids.find(|id| **id as usize >= config.embeddings.vocab_size) {
                let (folder, example, token) = (folder.into(), example.id.clone(), tokenizer.tokens(&[*id]).concat());
                return Err(TrainError::Vocabulary {
                    folder,
                    example,
                    id: *id,
                    token,
                    vocab_size: config.embeddings.vocab_size,
                });
            }
        }
        let cut = features.iter().filter(|feature| feature.truncated).count();
        // Files to predict may have no labels; inference does not read the class that takes their place.
        let gold = examples.iter().map(|example| example.gold.unwrap_or_default()).collect();
        Ok(Self { truncated: cut as f64 / features.len().max(1) as f64, features, choices, gold })
    }

    /// Packs the examples of `rows`, the first of which has the number `first` within its step.
    pub(crate) fn pack(&self, rows: &[u32], first: usize, shape: PackShape) -> Result<Batch, PackError> {
        let features: Vec<&Feature> = rows.iter().flat_map(|row| self.of_example(*row as usize)).collect();
        // Sequences borrow their type ids, so one row of zeros, as long as the longest sequence, serves them all.
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

    fn steps_per_epoch(&self) -> u64 {
        self.examples.div_ceil(self.batch_size) as u64
    }

    /// Number of epochs in `steps` steps. Steps count, not examples: the last batch of an epoch may be smaller.
    pub(crate) fn epochs_after(&self, steps: u64) -> f64 {
        steps as f64 / self.steps_per_epoch() as f64
    }

    /// The examples of step `step`, counted from 0; the last batch of an epoch may be smaller.
    pub(crate) fn step(&mut self, step: u64) -> Vec<u32> {
        let steps_per_epoch = self.steps_per_epoch();
        let (epoch, place) = (step / steps_per_epoch, (step % steps_per_epoch) as usize);
        // A permutation costs as much as many steps of a small task, so the one of the current epoch is kept.
        if self.current.as_ref().is_none_or(|(current, _)| *current != epoch) {
            // Each epoch has a stream of its own, so a resumed run can shuffle its epoch without the earlier ones.
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
    use crate::bridge::tokenizer_family;
    use crate::testing::{TABLE, place};
    use stepstone_tasks::Text;

    /// The split of single texts, all of class 1.
    fn split(place: &Path, texts: &[String], max_length: usize) -> Result<Split, TrainError> {
        let folder = place.join("model");
        let config = EncoderConfig::read(&folder).expect("config");
        let tokenizer = Tokenizer::load(&folder, tokenizer_family(config.family), max_length).expect("tokenizer");
        let example = |(i, text): (usize, &String)| Example {
            id: format!("row-{i}"),
            text: Text::Single(text.clone()),
            gold: Some(1),
        };
        let examples: Vec<Example> = texts.iter().enumerate().map(example).collect();
        Split::new(&examples, 1, &tokenizer, (&config, &folder))
    }

    #[test]
    fn a_token_beyond_the_embedding_table_is_refused_with_its_example() {
        let place = place();
        let last = format!("w{}", TABLE - 1);
        let inside = split(place.path(), std::slice::from_ref(&last), 8).expect("the last row of the table");
        assert_eq!(inside.features[0].ids[1] as usize, TABLE - 1);
        let error = split(place.path(), &[last, format!("w5 w{TABLE}")], 8).expect_err("one row too many");
        let TrainError::Vocabulary { example, id, token, vocab_size, .. } = &error else { panic!("{error:?}") };
        assert_eq!((example.as_str(), *id as usize, *vocab_size), ("row-1", TABLE, TABLE));
        assert_eq!(*token, format!("w{TABLE}"));
    }

    #[test]
    fn an_input_longer_than_the_positions_is_refused() {
        let place = place();
        let text = vec!["w5 ".repeat(60)];
        let error = split(place.path(), &text, 62).expect_err("40 positions");
        assert!(matches!(&error, TrainError::Recipe { key: "max_length", .. }), "{error:?}");
        let cut = split(place.path(), &text, 8).expect("cut");
        assert_eq!((cut.features[0].ids.len(), cut.truncated), (8, 1.0));
    }

    #[test]
    fn packing_puts_examples_back_to_back_and_numbers_them_within_their_step() {
        let place = place();
        let texts = ["w5", "w6 w7 w8", "w9 w10"].map(str::to_owned);
        let split = split(place.path(), &texts, 8).expect("a split");
        let shape = PackShape { position_offset: 2, one_segment: false };
        let batch = split.pack(&[2, 0], 3, shape).expect("packs");
        assert_eq!(batch.ids, [2, 9, 10, 3, 2, 5, 3], "[CLS] w9 w10 [SEP], [CLS] w5 [SEP]");
        assert_eq!((&batch.cu_seqlens[..], &batch.labels[..]), (&[0, 4, 7][..], &[1, 1][..]));
        assert_eq!(batch.positions, [2, 3, 4, 5, 2, 3, 4]);
        assert_eq!(batch.first_row_keys, [3 << 16, 4 << 16], "a micro-batch keeps the dropout of its whole step");
    }

    #[test]
    fn an_encoder_of_one_segment_sees_no_other() {
        let place = place();
        let mut split = split(place.path(), &["w5 w6".to_owned()], 8).expect("a split");
        split.features[0].type_ids = vec![0, 0, 1, 1];
        for (one_segment, want) in [(false, [0, 0, 1, 1]), (true, [0; 4])] {
            let batch = split.pack(&[0], 0, PackShape { position_offset: 0, one_segment }).expect("packs");
            assert_eq!(batch.type_ids, want, "{one_segment}");
        }
    }

    #[test]
    fn an_epoch_shows_every_example_once_whatever_the_sizes() {
        // Batches that divide the examples, that leave a rest, and that are larger than the data.
        for (examples, batch_size) in [(1, 1), (1, 5), (7, 7), (8, 3), (10, 4), (13, 16), (26, 5), (97, 10)] {
            let what = format!("{examples} examples in batches of {batch_size}");
            let mut order = Order::new(3, examples, batch_size);
            let mut step = 0;
            for epoch in 1..4 {
                let mut seen = Vec::new();
                while seen.len() < examples {
                    let rows = order.step(step);
                    assert!((1..=batch_size).contains(&rows.len()), "{what}: {rows:?}");
                    seen.extend(rows);
                    step += 1;
                }
                seen.sort_unstable();
                assert!(seen.into_iter().eq(0..examples as u32), "{what}, epoch {epoch}");
                assert_eq!(order.epochs_after(step), f64::from(epoch), "{what}");
            }
        }
    }

    #[test]
    fn epochs_and_seeds_differ_in_their_order_and_any_step_can_be_asked_first() {
        let mut order = Order::new(3, 10, 4);
        let steps: Vec<Vec<u32>> = (0..6).map(|step| order.step(step)).collect();
        assert_ne!(steps[..3], steps[3..]);
        assert_eq!(Order::new(3, 10, 4).step(5), steps[5], "as after a resume");
        assert_ne!(Order::new(4, 10, 4).step(0), steps[0]);
    }
}
