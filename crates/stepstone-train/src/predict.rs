//! Using a finished run: labels and probabilities for new inputs.

use crate::batches::Split;
use crate::bridge::{answers, pack_shape};
use crate::error::TrainError;
use crate::finished::{SavedModel, verified};
use crate::folder::RunRecord;
use crate::inference::{DeviceModel, Unusable};
use crate::model::Heads;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use stepstone_tasks::{Task, find, load_prediction_file};

/// One line of `stepstone predict`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prediction {
    /// The row's id.
    pub id: String,
    /// The most probable label.
    pub label: String,
    /// Probability of each label, in class-id order.
    pub probabilities: Vec<f64>,
}

/// The folder of a run: `name` itself, or the one run in `store` whose id begins with it.
///
/// # Errors
/// If there is no such run, or more than one.
pub fn find_run(name: &Path, store: &Path) -> Result<PathBuf, TrainError> {
    if name.is_dir() {
        return Ok(name.into());
    }
    let (name, store) = (name.to_string_lossy().into_owned(), store.to_path_buf());
    let entries = std::fs::read_dir(&store).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    let begins = |path: &PathBuf| path.file_name().is_some_and(|id| id.to_string_lossy().starts_with(&name));
    let mut found: Vec<PathBuf> = entries.filter(|path| begins(path) && path.join("run.json").is_file()).collect();
    // The system lists folders in no fixed order, and an error message shows them.
    found.sort();
    match found.as_slice() {
        [] => Err(TrainError::NoRun { name, store }),
        [run] => Ok(run.clone()),
        [_, _, ..] => Err(TrainError::SeveralRuns { name, found }),
    }
}

/// Labels and probabilities for every row of `file`, which has the format of the task's own files; labels may be
/// absent.
///
/// # Errors
/// If the run is not finished, its files are not as it wrote them, or the file is corrupt.
pub fn predict(run: &Path, file: &Path, threads: usize) -> Result<Vec<Prediction>, TrainError> {
    let (record, _) = verified(run)?;
    let identity = &record.identity;
    let task = task_of(run, &record)?;
    let examples = load_prediction_file(task, file)?;
    let folder = run.join("model");
    let SavedModel { config, weights, tokenizer } = SavedModel::open(&folder, &record)?;
    let split = Split::new(&examples, task.sequences_per_example(), &tokenizer, (&config, &folder))?;
    let answers = answers(task, identity.labels.len());
    let mut model = DeviceModel::new(&config, identity.recipe.head, answers, threads)?;
    model.load(&config, identity.recipe.head, &weights, Heads::Loaded)?;
    let logits = model.logits(&split, examples.len(), pack_shape(&config), &AtomicBool::new(false));
    let logits = logits.map_err(|unusable| match unusable {
        // The number of examples in a batch is fixed, so only many choices per row can make it too large.
        Unusable::TooLarge(error) => TrainError::Rows { file: file.into(), found: error.to_string() },
        Unusable::Logit { .. } | Unusable::Parameter { .. } => {
            TrainError::Logits { model: folder.clone(), found: unusable.to_string() }
        }
    })?;
    let predictions = logits.iter().flat_map(|logits| {
        let rows = examples.iter().zip(logits.rows()).zip(logits.predicted());
        rows.map(|((example, logits), class)| Prediction {
            id: example.id.clone(),
            label: identity.labels[class as usize].clone(),
            probabilities: softmax(logits),
        })
    });
    Ok(predictions.collect())
}

pub(crate) fn task_of(run: &Path, record: &RunRecord) -> Result<&'static Task, TrainError> {
    find(&record.identity.task).map_err(|error| TrainError::Newer {
        path: run.join("run.json"),
        found: error.to_string(),
        expected: "a task of this version".into(),
    })
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    // The largest logit is subtracted, because exp overflows from 710 on.
    let max = logits.iter().fold(f64::NEG_INFINITY, |a, b| a.max(*b));
    let sum: f64 = logits.iter().map(|z| (z - max).exp()).sum();
    logits.iter().map(|z| (z - max).exp() / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{control, place, run};
    use serde_json::json;
    use std::fs;

    #[test]
    fn a_row_with_a_token_beyond_the_embedding_table_is_refused_by_its_id() {
        let place = place();
        let trained = run(place.path(), "run", &json!({}));
        trained.train(&control(&AtomicBool::new(false)), &mut |_| {}).expect("trains");
        let file = place.path().join("new.tsv");
        fs::write(&file, "sentence\nw5 w6\nw5 w69\n").expect("file");
        let error = predict(trained.folder.path(), &file, 1).expect_err("id 69 of 61");
        assert!(matches!(&error, TrainError::Vocabulary { id: 69, .. }), "{error:?}");
        fs::write(&file, "sentence\nw5 w6\n").expect("file");
        let rows = predict(trained.folder.path(), &file, 1).expect("predicts");
        let sum: f64 = rows[0].probabilities.iter().sum();
        assert!(rows.len() == 1 && (sum - 1.0).abs() < 1e-12, "{rows:?}");
    }

    #[test]
    fn probabilities_of_large_logits_are_finite_and_keep_their_ratio() {
        let table = [([1000.0, 1000.0], [0.5, 0.5]), ([-1000.0, -1000.0 + 3f64.ln()], [0.25, 0.75])];
        for (logits, want) in table {
            for (got, want) in softmax(&logits).into_iter().zip(want) {
                // ln 3 beside 1000 keeps 43 of its 53 bits.
                assert!((got - want).abs() < 1e-12, "{logits:?}: {got} and {want}");
            }
        }
    }
}
