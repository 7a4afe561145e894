//! One packed batch: sequences back to back, no padding token.

use crate::value::{BatchShape, Rows};

/// A tokenized sequence to be packed into a batch.
#[derive(Debug, Clone, Copy)]
pub struct Sequence<'a> {
    /// Token ids, special tokens included.
    pub ids: &'a [u32],
    /// Segment of each token; ignored if the encoder has only one segment.
    pub type_ids: &'a [u32],
}

/// Packed inputs of one (micro-)batch. T tokens, S sequences.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// `[T]`, sequences back to back.
    pub ids: Vec<u32>,
    /// `[T]`
    pub type_ids: Vec<u32>,
    /// `[T]` rows of the position table.
    pub positions: Vec<u32>,
    /// `[S + 1]`, where each sequence starts.
    pub cu_seqlens: Vec<u32>,
    /// `[T]`: sequence number within the step x 65,536 + position in the sequence; keys the dropout masks, so that
    /// they depend neither on packing nor on micro-batches.
    pub row_keys: Vec<u32>,
    /// `[S]`: the row key of each sequence's first token.
    pub first_row_keys: Vec<u32>,
    /// `[examples]`: gold class of each example (one or more adjacent sequences); inference does not read it.
    pub labels: Vec<u32>,
}

/// Why sequences cannot be packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PackError {
    /// The step holds more than 65,535 sequences.
    TooManySequences(usize),
    /// A sequence holds more than 65,535 tokens.
    SequenceTooLong(usize),
}

impl Batch {
    /// Packs `sequences` in order. `position_offset` is the position row of a first token; `first_sequence` is the
    /// number, within the step, of the first sequence (0 unless this is a later micro-batch).
    ///
    /// # Errors
    /// If a row key would not fit 16 bits of sequence number and 16 bits of position.
    pub fn pack(
        sequences: &[Sequence<'_>],
        labels: &[u32],
        position_offset: u32,
        first_sequence: usize,
    ) -> Result<Self, PackError> {
        // A row key has 16 bits for the sequence and 16 for the position. A count of 65,535 still fits.
        if first_sequence + sequences.len() > 0xffff {
            return Err(PackError::TooManySequences(first_sequence + sequences.len()));
        }
        let tokens = sequences.iter().map(|s| s.ids.len()).sum();
        let mut batch = Self { labels: labels.to_vec(), cu_seqlens: vec![0], ..Self::default() };
        batch.ids.reserve(tokens);
        for (number, sequence) in sequences.iter().enumerate() {
            let len = sequence.ids.len();
            if len > 0xffff {
                return Err(PackError::SequenceTooLong(len));
            }
            // The number counts over the whole step, so that a later micro-batch draws the same masks as in one large
            // batch.
            let key = ((first_sequence + number) as u32) << 16;
            batch.ids.extend_from_slice(sequence.ids);
            batch.type_ids.extend_from_slice(sequence.type_ids);
            batch.positions.extend((0..len as u32).map(|p| p + position_offset));
            batch.row_keys.extend((0..len as u32).map(|p| key + p));
            // The position of a first token is 0, so its row key is the sequence's key alone.
            batch.first_row_keys.push(key);
            batch.cu_seqlens.push(batch.ids.len() as u32);
        }
        Ok(batch)
    }

    /// The dropout key of each row of this kind.
    ///
    /// # Panics
    /// If `rows` are examples, which have no keys: dropout acts on tokens or sequences.
    pub(crate) fn keys(&self, rows: Rows) -> &[u32] {
        match rows {
            Rows::Tokens => &self.row_keys,
            Rows::Sequences => &self.first_row_keys,
            Rows::Examples { .. } => panic!("dropout on rows of examples"),
        }
    }

    /// The sizes that decide how much memory a program needs.
    pub fn shape(&self) -> BatchShape {
        BatchShape { tokens: self.tokens(), sequences: self.sequences() }
    }

    /// Number of tokens, T.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// Number of sequences, S.
    pub fn sequences(&self) -> usize {
        self.first_row_keys.len()
    }
}

impl std::fmt::Display for PackError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooManySequences(n) => write!(f, "{n} sequences in one step, expected at most 65535"),
            Self::SequenceTooLong(n) => write!(f, "a sequence of {n} tokens, expected at most 65535"),
        }
    }
}

impl std::error::Error for PackError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Rows = Vec<(Vec<u32>, Vec<u32>)>;

    /// Sequences of ids and segments; some are empty.
    fn rows() -> impl Strategy<Value = Rows> {
        let row = prop::collection::vec((0u32..1000, 0u32..2), 0..20).prop_map(|row| row.into_iter().unzip());
        prop::collection::vec(row, 0..8)
    }

    fn sequences(rows: &Rows) -> Vec<Sequence<'_>> {
        rows.iter().map(|(ids, type_ids)| Sequence { ids, type_ids }).collect()
    }

    proptest! {
        #[test]
        fn sequences_lie_back_to_back_between_their_bounds(rows in rows()) {
            let batch = Batch::pack(&sequences(&rows), &[], 0, 0).unwrap();
            prop_assert_eq!(batch.cu_seqlens.len(), rows.len() + 1);
            prop_assert_eq!(*batch.cu_seqlens.last().unwrap() as usize, batch.tokens());
            for (bounds, (ids, type_ids)) in batch.cu_seqlens.windows(2).zip(&rows) {
                let range = bounds[0] as usize..bounds[1] as usize;
                prop_assert_eq!((&batch.ids[range.clone()], &batch.type_ids[range]), (&ids[..], &type_ids[..]));
            }
        }

        /// RoBERTa counts positions from 2, BERT from 0.
        #[test]
        fn positions_start_anew_in_every_sequence(rows in rows(), offset in 0u32..3) {
            let batch = Batch::pack(&sequences(&rows), &[], offset, 0).unwrap();
            let want = rows.iter().flat_map(|(ids, _)| offset..offset + ids.len() as u32);
            prop_assert_eq!(batch.positions, want.collect::<Vec<_>>());
        }

        #[test]
        fn a_row_key_is_sequence_times_65536_plus_position(rows in rows(), first in 0usize..100) {
            let batch = Batch::pack(&sequences(&rows), &[], 0, first).unwrap();
            let keys = (first as u32..).zip(&rows);
            let want = keys.flat_map(|(number, (ids, _))| (0..ids.len() as u32).map(move |p| 65_536 * number + p));
            prop_assert_eq!(&batch.row_keys, &want.collect::<Vec<_>>());
            let firsts: Vec<u32> = (0..rows.len() as u32).map(|s| 65_536 * (first as u32 + s)).collect();
            prop_assert_eq!(&batch.first_row_keys, &firsts);
            prop_assert_eq!(batch.shape(), BatchShape { tokens: batch.row_keys.len(), sequences: rows.len() });
        }

        /// Equal row keys give equal dropout masks, however a step is split into micro-batches.
        #[test]
        fn micro_batches_have_the_row_keys_of_the_whole(rows in rows(), cut in 0usize..8) {
            let (all, cut) = (sequences(&rows), cut.min(rows.len()));
            let whole = Batch::pack(&all, &[], 0, 0).unwrap();
            let parts = [Batch::pack(&all[..cut], &[], 0, 0).unwrap(), Batch::pack(&all[cut..], &[], 0, cut).unwrap()];
            prop_assert_eq!(&whole.row_keys, &[&parts[0].row_keys[..], &parts[1].row_keys].concat());
            prop_assert_eq!(&whole.first_row_keys, &[&parts[0].first_row_keys[..], &parts[1].first_row_keys].concat());
        }
    }

    #[test]
    fn a_sequence_has_at_most_65535_tokens() {
        let ids = vec![0; 65_536];
        let pack = |len| {
            let sequence = Sequence { ids: &ids[..len], type_ids: &ids[..len] };
            Batch::pack(&[sequence], &[], 0, 0).map(|batch| batch.tokens())
        };
        assert_eq!(pack(65_535), Ok(65_535));
        assert_eq!(pack(65_536), Err(PackError::SequenceTooLong(65_536)));
    }

    #[test]
    fn a_step_has_at_most_65535_sequences_over_all_micro_batches() {
        let one = [Sequence { ids: &[1], type_ids: &[0] }];
        let pack = |first| Batch::pack(&one, &[], 0, first).map(|batch| batch.row_keys[0]);
        assert_eq!(pack(65_534), Ok(65_534 << 16));
        assert_eq!(pack(65_535), Err(PackError::TooManySequences(65_536)));
    }

    #[test]
    fn rows_of_tokens_and_of_sequences_have_keys_and_rows_of_examples_have_none() {
        let (ids, type_ids) = ([5, 6, 7], [0, 0, 1]);
        let batch = Batch::pack(&[Sequence { ids: &ids, type_ids: &type_ids }], &[2], 0, 3).unwrap();
        assert_eq!(batch.keys(crate::value::Rows::Tokens), [196_608, 196_609, 196_610]);
        assert_eq!(batch.keys(crate::value::Rows::Sequences), [196_608]);
        assert_eq!(batch.labels, [2]);
        let keys = std::panic::catch_unwind(|| batch.keys(crate::value::Rows::Examples { choices: 1 }).len());
        assert!(keys.is_err());
    }
}
