//! One packed batch: sequences back to back, no padding token.

use crate::{BatchShape, Rows};

/// A tokenised sequence on its way into a batch.
#[derive(Debug, Clone, Copy)]
pub struct Sequence<'a> {
    /// Token ids, special tokens included.
    pub ids: &'a [u32],
    /// Segment of each token; ignored where the encoder has one segment only.
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
    /// `[examples]` gold class of each, an example being one or more sequences side by side; not read in inference.
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
            let key = ((first_sequence + number) as u32) << 16;
            batch.ids.extend_from_slice(sequence.ids);
            batch.type_ids.extend_from_slice(sequence.type_ids);
            batch.positions.extend((0..len as u32).map(|p| p + position_offset));
            batch.row_keys.extend((0..len as u32).map(|p| key + p));
            batch.first_row_keys.push(key);
            batch.cu_seqlens.push(batch.ids.len() as u32);
        }
        Ok(batch)
    }

    /// The dropout keys of rows of this kind.
    ///
    /// # Panics
    /// Of examples, which have none: dropout acts on sequences.
    pub(crate) fn keys(&self, rows: Rows) -> &[u32] {
        match rows {
            Rows::Tokens => &self.row_keys,
            Rows::Sequences => &self.first_row_keys,
            Rows::Examples { .. } => panic!("dropout on rows of examples"),
        }
    }

    /// What a plan needs to know.
    pub fn shape(&self) -> BatchShape {
        BatchShape { tokens: self.tokens(), sequences: self.sequences() }
    }

    /// T.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// S.
    pub fn sequences(&self) -> usize {
        self.first_row_keys.len()
    }
}

impl std::fmt::Display for PackError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooManySequences(n) => write!(f, "{n} sequences in one step, at most 65535 are possible"),
            Self::SequenceTooLong(n) => write!(f, "a sequence of {n} tokens, at most 65535 are possible"),
        }
    }
}

impl std::error::Error for PackError {}
