//! Values of a program: their numbers and shapes, and how many rows a batch gives them.

/// Names one activation or gradient of a program; a [`crate::MemoryPlan`] decides where it lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Value(pub(crate) u32);

/// How many rows a value has; the batch decides the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// One row per token of the packed batch.
    Tokens,
    /// One row per sequence.
    Sequences,
    /// One row per example of `choices` sequences.
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

/// The sizes of a batch that decide how much memory a program needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchShape {
    /// Number of tokens, T.
    pub tokens: usize,
    /// Number of sequences, S.
    pub sequences: usize,
}

impl Value {
    /// Index into tables with one entry per value.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

impl ValueInfo {
    /// Number of elements in a batch of this shape.
    pub fn len(self, shape: BatchShape) -> usize {
        shape.rows(self.rows) * self.columns
    }
}

impl BatchShape {
    /// Number of rows.
    pub fn rows(self, rows: Rows) -> usize {
        // A batch of choices holds whole examples, so the quotient has no remainder.
        match rows {
            Rows::Tokens => self.tokens,
            Rows::Sequences => self.sequences,
            Rows::Examples { choices } => self.sequences / choices,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_follow_the_batch() {
        let shape = BatchShape { tokens: 31, sequences: 6 };
        let table = [(Rows::Tokens, 31), (Rows::Sequences, 6), (Rows::Examples { choices: 3 }, 2)];
        for (rows, want) in table {
            assert_eq!(shape.rows(rows), want, "{rows:?}");
            assert_eq!(ValueInfo { rows, columns: 7 }.len(shape), 7 * want, "{rows:?}");
        }
    }
}
