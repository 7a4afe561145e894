//! The parameter arena: the place of each tensor and its names in checkpoints.

/// Every tensor starts at a multiple of this many elements, so that one optimizer flag per chunk suffices.
pub const CHUNK: usize = 1024;

/// Order and place of all parameters in one arena; gradients and moments use the same offsets.
#[derive(Debug, Clone, Default)]
pub struct Layout {
    /// The tensors in arena order.
    pub tensors: Vec<Tensor>,
    /// Elements of one arena, padding between tensors included; a multiple of [`CHUNK`].
    pub len: usize,
}

/// One row-major matrix of the arena, made of one or more checkpoint tensors stacked by rows.
#[derive(Debug, Clone)]
pub struct Tensor {
    /// Its place in the arena.
    pub param: Param,
    /// The checkpoint tensors it holds, in row order (query, key and value are one matrix here).
    pub parts: Vec<Part>,
    /// Whether weight decay applies to it; biases and layer norms are exempt.
    pub decays: bool,
}

/// One checkpoint tensor inside a [`Tensor`].
#[derive(Debug, Clone)]
pub struct Part {
    /// Its name in the checkpoint, without the family prefix.
    pub name: String,
    /// Its shape in the checkpoint.
    pub shape: Vec<usize>,
    /// Its place in the arena.
    pub param: Param,
}

/// A row-major matrix `[rows, columns]` in the parameter arena; a vector has one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Param {
    /// First element.
    pub offset: usize,
    /// Rows; 1 for a vector.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
}

impl Param {
    /// Number of elements.
    pub fn len(self) -> usize {
        self.rows * self.columns
    }

    /// Whether it has no elements.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Its elements in the arena.
    pub fn range(self) -> std::ops::Range<usize> {
        self.offset..self.offset + self.len()
    }

    /// The sub-matrix of `count` whole rows from `first`; of a vector, `count` elements from `first`.
    ///
    /// # Panics
    /// If the rows or elements lie outside the matrix.
    pub fn slice(self, first: usize, count: usize) -> Self {
        if self.rows == 1 {
            assert!(first + count <= self.columns, "elements {first}+{count} of {}", self.columns);
            return Self { offset: self.offset + first, rows: 1, columns: count };
        }
        assert!(first + count <= self.rows, "rows {first}+{count} of {}", self.rows);
        Self { offset: self.offset + first * self.columns, rows: count, columns: self.columns }
    }
}

impl Layout {
    /// Appends a matrix made of `names.len()` checkpoint tensors of equal shape `[rows, columns]`, stacked by rows.
    pub fn matrix(&mut self, names: &[String], rows: usize, columns: usize) -> Param {
        // The parts are stacked, so that query, key and value need one product with a wide weight instead of three.
        let param = Param { offset: self.len, rows: rows * names.len(), columns };
        let part = |(i, name): (usize, &String)| Part {
            name: name.clone(),
            shape: vec![rows, columns],
            param: param_rows(param, i * rows, rows),
        };
        self.push(param, names.iter().enumerate().map(part).collect(), true)
    }

    /// Appends a vector made of `names.len()` checkpoint tensors of `len` elements each; weight decay does not apply to
    /// it.
    pub fn vector(&mut self, names: &[String], len: usize) -> Param {
        let param = Param { offset: self.len, rows: 1, columns: len * names.len() };
        let part = |(i, name): (usize, &String)| Part {
            name: name.clone(),
            shape: vec![len],
            param: param.slice(i * len, len),
        };
        self.push(param, names.iter().enumerate().map(part).collect(), false)
    }

    /// Whether weight decay applies to each [`CHUNK`] of the arena, `[len / CHUNK]`.
    pub fn decays(&self) -> Vec<bool> {
        let mut flags = vec![false; self.len / CHUNK];
        // No two tensors share a chunk, so one flag per chunk suffices.
        for tensor in self.tensors.iter().filter(|t| t.decays) {
            let range = tensor.param.range();
            flags[range.start / CHUNK..range.end.div_ceil(CHUNK)].fill(true);
        }
        flags
    }

    /// Every checkpoint tensor, in arena order.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        self.tensors.iter().flat_map(|t| &t.parts)
    }

    /// The elements of each checkpoint tensor, in arena order.
    pub fn part_ranges(&self) -> Vec<std::ops::Range<usize>> {
        self.parts().map(|part| part.param.range()).collect()
    }

    /// Number of parameters, padding not counted.
    pub fn parameters(&self) -> usize {
        self.tensors.iter().map(|t| t.param.len()).sum()
    }

    fn push(&mut self, param: Param, parts: Vec<Part>, decays: bool) -> Param {
        self.tensors.push(Tensor { param, parts, decays });
        // Rounded up, so that the next tensor starts in a chunk of its own.
        self.len = (self.len + param.len()).next_multiple_of(CHUNK);
        param
    }
}

/// Rows of a matrix. [`Param::slice`] would take a matrix with a single row for a vector and count elements.
fn param_rows(param: Param, first: usize, rows: usize) -> Param {
    Param { offset: param.offset + first * param.columns, rows, columns: param.columns }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tensors_start_at_chunks_and_parts_are_rows_of_them() {
        let mut layout = Layout::default();
        let names = |n: &[&str]| n.iter().map(ToString::to_string).collect::<Vec<_>>();
        let fused = layout.matrix(&names(&["q", "k", "v"]), 24, 24);
        let bias = layout.vector(&names(&["qb", "kb", "vb"]), 24);
        assert_eq!((fused.offset, bias.offset, layout.len), (0, 2048, 3072));
        let offsets: Vec<_> = layout.parts().map(|p| (p.name.as_str(), p.param.offset, p.param.len())).collect();
        assert_eq!(
            offsets,
            [("q", 0, 576), ("k", 576, 576), ("v", 1152, 576), ("qb", 2048, 24), ("kb", 2072, 24), ("vb", 2096, 24)]
        );
        assert_eq!(layout.decays(), [true, true, false]);
        assert_eq!(fused.slice(24, 48), Param { offset: 576, rows: 48, columns: 24 });
        assert_eq!(bias.slice(24, 48), Param { offset: 2072, rows: 1, columns: 48 });
    }

    /// A matrix or a vector, of one or more checkpoint tensors.
    #[derive(Debug, Clone)]
    enum Entry {
        Matrix { parts: usize, rows: usize, columns: usize },
        Vector { parts: usize, len: usize },
    }

    fn entries() -> impl Strategy<Value = Vec<Entry>> {
        let matrix = (1usize..4, 1usize..40, 1usize..90).prop_map(|(parts, rows, columns)| Entry::Matrix {
            parts,
            rows,
            columns,
        });
        // Up to 1,500 elements, so that some vectors need more than one chunk.
        let vector = (1usize..4, 1usize..1500).prop_map(|(parts, len)| Entry::Vector { parts, len });
        prop::collection::vec(prop_oneof![matrix, vector], 0..12)
    }

    fn laid_out(entries: &[Entry]) -> Layout {
        let mut layout = Layout::default();
        for (number, entry) in entries.iter().enumerate() {
            let names = |parts: usize| (0..parts).map(|part| format!("{number}.{part}")).collect::<Vec<_>>();
            match *entry {
                Entry::Matrix { parts, rows, columns } => layout.matrix(&names(parts), rows, columns),
                Entry::Vector { parts, len } => layout.vector(&names(parts), len),
            };
        }
        layout
    }

    proptest! {
        #[test]
        fn tensors_start_at_chunks_share_none_and_lie_in_the_arena(entries in entries()) {
            let layout = laid_out(&entries);
            let mut free_from = 0;
            for tensor in &layout.tensors {
                let range = tensor.param.range();
                prop_assert_eq!(range.start % CHUNK, 0);
                prop_assert!(range.start >= free_from, "two tensors share the chunk before {}", range.start);
                free_from = range.end.next_multiple_of(CHUNK);
            }
            prop_assert_eq!(layout.len, free_from);
        }

        #[test]
        fn the_parts_of_a_tensor_fill_it_in_order(entries in entries()) {
            for tensor in laid_out(&entries).tensors {
                let mut at = tensor.param.offset;
                for part in &tensor.parts {
                    prop_assert_eq!(part.param.offset, at);
                    prop_assert_eq!(part.shape.iter().product::<usize>(), part.param.len());
                    at += part.param.len();
                }
                prop_assert_eq!(at, tensor.param.range().end);
            }
        }

        /// Weight decay applies to matrices but not to vectors (biases and gains).
        #[test]
        fn every_chunk_has_the_decay_of_its_tensor(entries in entries()) {
            let layout = laid_out(&entries);
            let decays = layout.decays();
            prop_assert_eq!(decays.len() * CHUNK, layout.len);
            for (tensor, entry) in layout.tensors.iter().zip(&entries) {
                let want = matches!(entry, Entry::Matrix { .. });
                prop_assert!(tensor.param.range().all(|i| decays[i / CHUNK] == want), "{entry:?}");
            }
        }

        #[test]
        fn parameters_count_elements_without_padding(entries in entries()) {
            let layout = laid_out(&entries);
            prop_assert_eq!(layout.parameters(), layout.part_ranges().iter().map(ExactSizeIterator::len).sum::<usize>());
        }
    }

    #[test]
    #[should_panic(expected = "rows 3+2 of 4")]
    fn a_slice_beyond_the_last_row_is_refused() {
        let _ = Param { offset: 0, rows: 4, columns: 2 }.slice(3, 2);
    }

    #[test]
    #[should_panic(expected = "elements 3+2 of 4")]
    fn a_slice_beyond_the_last_element_is_refused() {
        let _ = Param { offset: 0, rows: 1, columns: 4 }.slice(3, 2);
    }
}
