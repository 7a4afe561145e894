//! Writes what a finished run leaves: model, predictions, times and, last, the scores.

use crate::control::Control;
use crate::error::TrainError;
use crate::folder::Timing;
use crate::inference::{DeviceModel, Logits};
use crate::model;
use crate::resume::{self, State};
use crate::run::Run;
use crate::scores::{DataCounts, SCORES_FORMAT, Scores};
use crate::verify;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::ops::Range;
use stepstone_files::write_atomically;
use stepstone_tasks::NamedScore;

/// The best weights of a run, scored on the whole dev split.
pub(crate) struct Finished<'a> {
    pub(crate) run: &'a Run,
    pub(crate) model: &'a DeviceModel,
    /// The best weights, which are also in the device.
    pub(crate) parameters: &'a [f32],
    pub(crate) logits: &'a Logits,
    pub(crate) state: &'a State,
    /// The step after which the best weights were found.
    pub(crate) best_step: u64,
}

impl Finished<'_> {
    /// Writes everything. The scores come last: their presence means that the rest is there.
    pub(crate) fn publish(&self, clock: &Timing, control: &Control<'_>) -> Result<Scores, TrainError> {
        let (run, folder, step) = (self.run, &self.run.folder, self.state.step);
        let predicted = self.logits.predicted();
        control.check_still_ours(&run.record.id)?;
        folder.log("writing", json!({"step": step}))?;
        // Of an attempt that was killed before its scores, or of a damaged run: the scores vouch for what lies there.
        let _ = fs::remove_dir_all(folder.file("model"));
        if run.keep_model {
            model::save(&folder.file("model"), run, &self.model.classifier, self.parameters)?;
        }
        self.write_predictions(&predicted)?;
        folder.write("timing.json", clock)?;
        // Read back from the disk rather than hashed on the way, so that one function digests all files.
        let scores = Scores { files: verify::list(folder)?, ..self.scores(&predicted) }.sealed();
        // A model may take long to write, so the lease is checked again right before the scores.
        control.check_still_ours(&run.record.id)?;
        folder.write("scores.json", &scores)?;
        folder.log("done", json!({"step": step, "best_step": self.best_step}))?;
        resume::remove(folder);
        Ok(scores)
    }

    /// The scores, still without digests.
    fn scores(&self, predicted: &[u32]) -> Scores {
        let run = self.run;
        let classes = self.model.classifier.answers.count();
        let part = |part: &stepstone_tasks::DevPart| {
            let scores = score(run, predicted, part.range.clone()).into_iter();
            scores.map(|s| NamedScore { name: format!("{}.{}", part.name, s.name), ..s }).collect::<Vec<_>>()
        };
        Scores {
            format: SCORES_FORMAT,
            run_id: run.record.id.clone(),
            digest: String::new(),
            task: run.task.name.into(),
            scores: score(run, predicted, 0..predicted.len()),
            parts: run.data.dev_parts.iter().flat_map(part).collect(),
            data: DataCounts {
                n_train: run.train.gold.len(),
                n_dev: run.dev.gold.len(),
                n_classes: classes,
                majority_score: run.task.metric.majority_score(&run.dev.gold, classes),
            },
            steps: self.state.step,
            best_step: self.best_step,
            final_train_loss: self.state.loss,
            n_distinct_pred: predicted.iter().collect::<BTreeSet<_>>().len(),
            files: BTreeMap::new(),
        }
    }

    fn write_predictions(&self, predicted: &[u32]) -> Result<(), TrainError> {
        let (run, path) = (self.run, self.run.folder.file("predictions.jsonl"));
        let labels = &run.data.labels;
        let mut text = String::new();
        let rows = run.data.dev.iter().zip(self.logits.rows()).zip(predicted);
        for (((example, logits), predicted), gold) in rows.zip(&run.dev.gold) {
            // The model computes in f32, so f32 keeps all its digits in half the bytes.
            let logits: Vec<f32> = logits.iter().map(|z| *z as f32).collect();
            let (gold, predicted) = (&labels[*gold as usize], &labels[*predicted as usize]);
            let line = json!({"id": example.id, "gold": gold, "predicted": predicted, "logits": logits});
            let _ = writeln!(text, "{line}"); // a String takes every write
        }
        write_atomically(&path, text.as_bytes()).map_err(TrainError::write(&path))
    }
}

/// Scores of the dev examples in `range`, the primary metric first; `predicted` begins with example 0.
pub(crate) fn score(run: &Run, predicted: &[u32], range: Range<usize>) -> Vec<NamedScore> {
    run.task.metric.score(&predicted[range.clone()], &run.dev.gold[range], run.answers().count())
}
