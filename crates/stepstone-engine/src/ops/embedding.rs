//! Embedding: the sum of a word row, a position row and a segment row per token.

use crate::batch::Batch;
use crate::cpu_run::{Run as CpuRun, disjoint};
use crate::gradients::Gradients;
use crate::layout::Param;
use crate::phases::Phase;
use crate::reference_run::Run;
use crate::value::Value;
use stepstone_kernels::embedding::{self, Indices, Tables};

/// `out = word[id] + position[p] + token_type[t]`. Tables `[entries, h]`, out `[T, h]`.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the formula names them")]
pub struct Embedding {
    pub word: Param,
    pub position: Param,
    pub token_type: Param,
    /// The word row that gets no gradient, like PyTorch's `padding_idx`.
    pub padding_index: Option<u32>,
    pub out: Value,
}

/// `d_table[row] += d_out` of every token that read the row, in token order.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the formula names them")]
pub struct EmbeddingBackward {
    pub forward: Embedding,
    pub d_out: Value,
}

impl Embedding {
    pub(crate) const PHASE: Phase = Phase::Other;

    #[expect(clippy::unused_self, reason = "every op of the table has this method")]
    pub(crate) fn reads(&self) -> Vec<Value> {
        Vec::new()
    }

    pub(crate) fn writes(&self) -> Vec<Value> {
        vec![self.out]
    }

    pub(crate) fn backward(&self, gradients: &mut Gradients) -> Option<EmbeddingBackward> {
        let d_out = gradients.gradient(self.out)?;
        Some(EmbeddingBackward { forward: self.clone(), d_out })
    }

    pub(crate) fn reference(&self, run: &mut Run<'_>) {
        let h = self.word.columns;
        let mut out = Vec::with_capacity(run.batch.tokens() * h);
        for t in 0..run.batch.tokens() {
            let batch = run.batch;
            let row = |table: Param, r: u32| &run.parameters[table.range()][r as usize * h..][..h];
            let (w, p, s) = (
                row(self.word, batch.ids[t]),
                row(self.position, batch.positions[t]),
                row(self.token_type, batch.type_ids[t]),
            );
            out.extend((0..h).map(|c| w[c] + p[c] + s[c]));
        }
        run.set(self.out, out);
    }

    pub(crate) fn cpu(&self, run: &mut CpuRun<'_>) {
        let (threads, indices) = (run.threads, indices(run.batch));
        let [word, position, token_type] =
            [self.word, self.position, self.token_type].map(|table| run.parameter(table));
        let [out] = run.values([self.out]);
        embedding::forward(threads, self.word.columns, indices, Tables { word, position, token_type }, out);
    }
}

impl EmbeddingBackward {
    pub(crate) const PHASE: Phase = Phase::Other;

    pub(crate) fn reads(&self) -> Vec<Value> {
        vec![self.d_out]
    }

    #[expect(clippy::unused_self, reason = "every op of the table has this method")]
    pub(crate) fn writes(&self) -> Vec<Value> {
        Vec::new()
    }

    pub(crate) fn reference(&self, run: &mut Run<'_>) {
        let h = self.forward.word.columns;
        let d_out = run.get(self.d_out).to_vec();
        for (t, d_row) in d_out.chunks_exact(h).enumerate() {
            let batch = run.batch;
            let mut add = |table: Param, row: u32| {
                let at = table.offset + row as usize * h;
                run.gradients[at..at + h].iter_mut().zip(d_row).for_each(|(g, d)| *g += d);
            };
            // Like PyTorch's `padding_idx`, the row is read like any other but gets no gradient.
            if self.forward.padding_index != Some(batch.ids[t]) {
                add(self.forward.word, batch.ids[t]);
            }
            add(self.forward.position, batch.positions[t]);
            add(self.forward.token_type, batch.type_ids[t]);
        }
    }

    pub(crate) fn cpu(&self, run: &mut CpuRun<'_>) {
        let forward = &self.forward;
        let tables = [forward.word, forward.position, forward.token_type];
        for table in tables {
            // Rows are always added one by one, so the answer is not needed; the call only marks the tables as written.
            run.first_gradient(table);
        }
        let d_out = &run.activations[run.span(self.d_out)];
        let [word, position, token_type] = disjoint(run.gradients, tables.map(Param::range));
        let gradients = Tables { word, position, token_type };
        let hidden = forward.word.columns;
        embedding::backward(run.threads, hidden, d_out, indices(run.batch), forward.padding_index, gradients);
    }
}

fn indices(batch: &Batch) -> Indices<'_> {
    Indices { ids: &batch.ids, positions: &batch.positions, type_ids: &batch.type_ids }
}

#[cfg(test)]
mod tests {
    use crate::gradient_check::{ENTRIES, LENGTHS, WIDTHS, check};

    #[test]
    fn gradients_are_slopes_and_kernels_follow() {
        for lengths in LENGTHS {
            for columns in WIDTHS {
                check(&format!("embedding of {columns}"), lengths, |b| {
                    let [word, position, token_type] = [0; 3].map(|_| b.matrix(ENTRIES, columns));
                    b.tape.embedding(word, position, token_type, None)
                });
            }
        }
    }

    /// By definition of `padding_idx`, its row is read but gets no gradient, whatever the slope.
    #[test]
    fn padding_row_gets_no_gradient() {
        use crate::{Arena, CpuDevice, Device, Layout, ReferenceDevice, Scalars, Tape, Threads};
        let mut layout = Layout::default();
        let [word, position, token_type] = [0; 3].map(|_| layout.matrix(&[String::new()], ENTRIES, 5));
        let classifier = (layout.matrix(&[String::new()], 3, 5), layout.vector(&[String::new()], 3));
        let mut tape = Tape::for_training();
        let x = tape.embedding(word, position, token_type, Some(0));
        let first = tape.first_token(x);
        let logits = tape.linear(first, classifier.0, classifier.1);
        let losses = tape.cross_entropy(logits);
        let program = tape.finish_with_backward(losses, &[]);
        let batch = crate::gradient_check::batch(&[1, 2]); // both start with id 0
        let devices: [Box<dyn Device>; 2] = [
            Box::new(CpuDevice::new(layout.len, Threads::new(1).expect("threads start"))),
            Box::new(ReferenceDevice::new(layout.len)),
        ];
        for mut device in devices {
            device.load(Arena::Parameters, classifier.0.offset, &[0.5, 1.0, -1.0, 2.0, 0.1, 1.5]);
            device.run(&program, &batch, Scalars { seed: 0, step: 0, loss_scale: 1.0 });
            let mut gradients = [vec![0.0; 5], vec![0.0; 5]];
            device.store(Arena::Gradients, word.offset, &mut gradients[0]);
            device.store(Arena::Gradients, token_type.offset, &mut gradients[1]);
            assert_eq!(gradients[0], [0.0; 5]);
            assert_ne!(gradients[1], [0.0; 5]);
        }
    }
}
