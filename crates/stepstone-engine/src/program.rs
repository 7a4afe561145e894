//! A program: the forward and backward lists of op records, and the values they name.

use crate::ops;

/// Names one activation or gradient of a program; its place in memory is a [`crate::Plan`]'s business.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Value(pub(crate) u32);

/// How many rows a value has; known once a batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// One row per token of the packed batch.
    Tokens,
    /// One row per sequence.
    Sequences,
    /// One row per example of so many sequences.
    Examples {
        /// Sequences of each example.
        choices: usize,
    },
}

/// Shape of a value: `[rows, columns]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueInfo {
    /// Rows.
    pub rows: Rows,
    /// Columns.
    pub columns: usize,
}

/// What a plan needs to know of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchShape {
    /// T.
    pub tokens: usize,
    /// S.
    pub sequences: usize,
}

impl BatchShape {
    /// Number of rows.
    pub fn rows(self, rows: Rows) -> usize {
        match rows {
            Rows::Tokens => self.tokens,
            Rows::Sequences => self.sequences,
            Rows::Examples { choices } => self.sequences / choices,
        }
    }
}

/// One op record. A closed set: a device that knows these runs every model.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each record is documented in its own file under ops/")]
pub enum Op {
    Embedding(ops::Embedding),
    EmbeddingBackward(ops::EmbeddingBackward),
    LayerNorm(ops::LayerNorm),
    LayerNormBackward(ops::LayerNormBackward),
    Linear(ops::Linear),
    LinearBackward(ops::LinearBackward),
    Attention(ops::Attention),
    AttentionBackward(ops::AttentionBackward),
    Dropout(ops::Dropout),
    FirstToken(ops::FirstToken),
    FirstTokenBackward(ops::FirstTokenBackward),
    Choices(ops::Choices),
    ChoicesBackward(ops::ChoicesBackward),
    Tanh(ops::Tanh),
    TanhBackward(ops::TanhBackward),
    CrossEntropy(ops::CrossEntropy),
    CrossEntropyBackward(ops::CrossEntropyBackward),
}

impl Op {
    /// Every value that the op reads or writes.
    pub fn values(&self) -> Vec<Value> {
        match self {
            Self::Embedding(op) => op.values(),
            Self::EmbeddingBackward(op) => op.values(),
            Self::LayerNorm(op) => op.values(),
            Self::LayerNormBackward(op) => op.values(),
            Self::Linear(op) => op.values(),
            Self::LinearBackward(op) => op.values(),
            Self::Attention(op) => op.values(),
            Self::AttentionBackward(op) => op.values(),
            Self::Dropout(op) => op.values(),
            Self::FirstToken(op) => op.values(),
            Self::FirstTokenBackward(op) => op.values(),
            Self::Choices(op) => op.values(),
            Self::ChoicesBackward(op) => op.values(),
            Self::Tanh(op) => op.values(),
            Self::TanhBackward(op) => op.values(),
            Self::CrossEntropy(op) => op.values(),
            Self::CrossEntropyBackward(op) => op.values(),
        }
    }
}

/// Lists of ops that a device runs in order, and the shapes of their values.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    /// The forward list, then the backward list (empty in inference).
    pub ops: Vec<Op>,
    /// Shape of each value; the index is the value's number.
    pub values: Vec<ValueInfo>,
    /// Values that the host reads after a run; they keep their memory to the end.
    pub outputs: Vec<Value>,
}

impl Program {
    /// Shape of `value`.
    pub fn info(&self, value: Value) -> ValueInfo {
        self.values[value.0 as usize]
    }
}

impl std::fmt::Display for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (number, op) in self.ops.iter().enumerate() {
            writeln!(f, "{number:4} {op:?}")?;
        }
        Ok(())
    }
}
