//! Using a finished run: labels and probabilities for new inputs.

use crate::batches::Split;
use crate::error::TrainError;
use crate::folder::{RunFolder, RunRecord, Scores};
use crate::model::{self, HEAD_FILE, Heads};
use crate::run::{answers, pack_shape, tokenizer_family};
use crate::trainer::argmax;
use serde::Serialize;
use std::path::{Path, PathBuf};
use stepstone_engine::{CpuDevice, Device, Scalars, Threads};
use stepstone_models::{Classifier, EncoderConfig, HeadKind, Weights};
use stepstone_tasks::{Task, Tokenizer, find, load_prediction_file};

/// Rows that are computed at a time.
const ROWS: usize = 64;

/// One line of `stepstone predict`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prediction {
    /// The row's id.
    pub id: String,
    /// The most probable label.
    pub label: String,
    /// Of each label in class-id order, 0..1.
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
    found.sort();
    match found.as_slice() {
        [] => Err(TrainError::NoRun { name, store }),
        [run] => Ok(run.clone()),
        [_, _, ..] => Err(TrainError::SeveralRuns { name, found }),
    }
}

/// Labels and probabilities for every row of `file`, which is laid out as any of the task's own files; labels may be
/// absent.
///
/// # Errors
/// If the run is not finished, or its model or the file is bad.
pub fn predict(run: &Path, file: &Path, threads: usize) -> Result<Vec<Prediction>, TrainError> {
    let (record, _) = finished(run)?;
    let identity = &record.identity;
    let task = task_of(run, &record)?;
    let examples = load_prediction_file(task, file)?;
    let folder = run.join("model");
    let config = EncoderConfig::read(&folder)?;
    let tokenizer = Tokenizer::load(&folder, tokenizer_family(config.family), identity.recipe.inputs.max_length)?;
    let tokenizer = tokenizer.with_pieces(identity.recipe.inputs.pieces);
    let split = Split::new(&examples, task.sequences_per_example(), &tokenizer, config.usable_positions())?;
    let model = Classifier::new(&config, identity.recipe.head, answers(task, identity.labels.len()));
    let mut device = loaded(&folder, &config, identity.recipe.head, &model, threads)?;
    let pass = model.inference_pass();
    let rows: Vec<u32> = (0..examples.len() as u32).collect();
    let mut predictions = Vec::with_capacity(rows.len());
    for part in rows.chunks(ROWS) {
        let batch = split.pack(part, 0, pack_shape(&config)).map_err(|e| bad(file, &e.to_string(), "shorter rows"))?;
        device.run(&pass.program, &batch, Scalars { seed: 0, step: 0, loss_scale: 0.0 });
        let logits = device.read(pass.logits);
        let classes = identity.labels.len();
        for ((row, logits), class) in part.iter().zip(logits.chunks_exact(classes)).zip(argmax(&logits, classes)) {
            let id = examples[*row as usize].id.clone();
            let label = identity.labels[class as usize].clone();
            predictions.push(Prediction { id, label, probabilities: softmax(logits) });
        }
    }
    Ok(predictions)
}

/// A device that holds the weights of a run's model.
fn loaded(
    folder: &Path,
    config: &EncoderConfig,
    head: HeadKind,
    model: &Classifier,
    threads: usize,
) -> Result<CpuDevice, TrainError> {
    let mut weights = Weights::open(folder, config)?;
    match head {
        HeadKind::Hf => {}
        HeadKind::Linear => weights.add_file(&folder.join(HEAD_FILE), config)?,
    }
    let pool = Threads::new(threads).map_err(|source| TrainError::Threads { threads, source })?;
    let mut device = CpuDevice::new(model.layout.len, pool);
    model::load(model, config, head, &weights, Heads::Loaded, &mut device)?;
    Ok(device)
}

/// Record and scores of a run that has ended.
pub(crate) fn finished(run: &Path) -> Result<(RunRecord, Scores), TrainError> {
    let folder = RunFolder::new(run);
    let record = folder.record()?.ok_or_else(|| TrainError::MissingRun { path: run.join("run.json") })?;
    let scores = folder.scores()?.ok_or_else(|| TrainError::Unfinished { run: run.into() })?;
    Ok((record, scores))
}

pub(crate) fn task_of(run: &Path, record: &RunRecord) -> Result<&'static Task, TrainError> {
    find(&record.identity.task).map_err(|error| bad(run, &error.to_string(), "a task of this version"))
}

fn bad(path: &Path, found: &str, expected: &str) -> TrainError {
    TrainError::BadRun { path: path.into(), found: found.into(), expected: expected.into() }
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let max = logits.iter().fold(f64::NEG_INFINITY, |a, b| a.max(*b));
    let sum: f64 = logits.iter().map(|z| (z - max).exp()).sum();
    logits.iter().map(|z| (z - max).exp() / sum).collect()
}
