//! Using a finished run: predictions for new inputs, and an export that transformers loads.

use crate::batches::Split;
use crate::error::TrainError;
use crate::folder::{RunFolder, RunRecord, Scores};
use crate::model::{self, Heads};
use crate::run::{pack_shape, tokenizer_family};
use crate::trainer::argmax;
use serde::Serialize;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use stepstone_engine::{CpuDevice, Device, Scalars, Threads};
use stepstone_models::{Classifier, EncoderConfig, HeadKind, Weights, write_atomically};
use stepstone_tasks::{Tokenizer, find, load_prediction_file};

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

/// Labels and probabilities for every row of `file`, which is laid out as the task's own files; labels may be absent.
///
/// # Errors
/// If the run is not finished, has a head that cannot be loaded, or the file is bad.
pub fn predict(run: &Path, file: &Path, threads: usize) -> Result<Vec<Prediction>, TrainError> {
    let (record, _) = finished(run)?;
    let identity = &record.identity;
    let task = find(&identity.task).map_err(|error| bad(run, &error.to_string(), "a task of this version"))?;
    if identity.recipe.head == HeadKind::Linear {
        return Err(bad(run, "head `linear`", "head `hf`: predictions of a `linear` head stand in predictions.jsonl"));
    }
    let folder = run.join("model");
    let config = EncoderConfig::read(&folder)?;
    let weights = Weights::open(&folder, &config)?;
    let tokenizer = Tokenizer::load(&folder, tokenizer_family(config.family), identity.recipe.max_length)?;
    let examples = load_prediction_file(task, file)?;
    let split = Split::new(&examples, &tokenizer)?;
    let model = Classifier::new(&config, identity.recipe.head, identity.labels.len());
    let pool = Threads::new(threads).map_err(|source| TrainError::Threads { threads, source })?;
    let mut device = CpuDevice::new(model.layout.len, pool);
    model::load(&model, &config, identity.recipe.head, &weights, Heads::Loaded, &mut device)?;
    let pass = model.inference_pass();
    let rows: Vec<u32> = (0..examples.len() as u32).collect();
    let mut predictions = Vec::with_capacity(rows.len());
    for part in rows.chunks(64) {
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

/// Copies the model of a finished run to `dir`, with a model card.
///
/// # Errors
/// If the run is not finished, `dir` exists and is not empty, or a write fails.
pub fn export(run: &Path, dir: &Path) -> Result<(), TrainError> {
    let (record, scores) = finished(run)?;
    if fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(stepstone_models::ModelError::NotEmpty { path: dir.into() }.into());
    }
    fs::create_dir_all(dir).map_err(|source| TrainError::Create { path: dir.into(), source })?;
    let source = run.join("model");
    let entries = fs::read_dir(&source).map_err(|error| bad(&source, &error.to_string(), "the run's model"))?;
    let mut files: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    files.sort();
    for file in files {
        let target = dir.join(file.file_name().unwrap_or_default());
        fs::copy(&file, &target).map_err(TrainError::write(&target))?;
    }
    let card = dir.join("README.md");
    write_atomically(&card, card_text(&record, &scores).as_bytes()).map_err(TrainError::write(&card))
}

fn finished(run: &Path) -> Result<(RunRecord, Scores), TrainError> {
    let folder = RunFolder::new(run);
    let record = folder.record()?.ok_or_else(|| TrainError::MissingRun { path: run.join("run.json") })?;
    let scores = folder.scores()?.ok_or_else(|| bad(run, "no scores.json", "a finished run: train it to the end"))?;
    Ok((record, scores))
}

fn bad(path: &Path, found: &str, expected: &str) -> TrainError {
    TrainError::BadRun { path: path.into(), found: found.into(), expected: expected.into() }
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let max = logits.iter().fold(f64::NEG_INFINITY, |a, b| a.max(*b));
    let sum: f64 = logits.iter().map(|z| (z - max).exp()).sum();
    logits.iter().map(|z| (z - max).exp() / sum).collect()
}

/// The model card: front matter for the hub, lineage, recipe and scores.
fn card_text(record: &RunRecord, scores: &Scores) -> String {
    let (identity, recipe) = (&record.identity, &record.identity.recipe);
    let mut card = String::from(
        "---\nlibrary_name: transformers\npipeline_tag: text-classification\ntags:\n- stepstone\n\
         - intermediate-task-transfer\n",
    );
    let _ = write!(card, "model-index:\n- name: {}\n  results:\n", record.id);
    let _ =
        write!(card, "  - task: {{type: text-classification}}\n    dataset: {{type: {0}, name: {0}}}\n", scores.task);
    card.push_str("    metrics:\n");
    for score in &scores.scores {
        let _ = writeln!(card, "    - {{type: {}, value: {}}}", score.name, score.value);
    }
    let _ = write!(card, "---\n\n# {} fine-tuned by stepstone\n\n", scores.task);
    let _ = writeln!(card, "Run `{}`, seed {}.\n\n## Lineage\n", record.id, identity.seed);
    let _ = writeln!(card, "- encoder: blake3 `{}`", identity.encoder);
    let _ = writeln!(
        card,
        "- {} training and {} dev examples of {}: blake3 `{}`",
        scores.n_train, scores.n_dev, scores.task, identity.data
    );
    card.push_str("\n## Scores on the dev split (which also chose the checkpoint)\n\n| metric | value |\n|---|---|\n");
    for score in scores.scores.iter().chain(&scores.parts) {
        let _ = writeln!(card, "| {} | {:.4} |", score.name, score.value);
    }
    let _ = writeln!(card, "| always the commonest label | {:.4} |", scores.majority_score);
    let _ = write!(
        card,
        "\n## Training\n\nAdamW, learning rate {}, weight decay {}, batch {}, {} steps (best after {}), max_length {}, head `{:?}`.\n",
        recipe.learning_rate,
        recipe.weight_decay,
        recipe.batch_size,
        scores.steps,
        scores.best_step,
        recipe.max_length,
        recipe.head
    );
    if recipe.head == HeadKind::Linear {
        card.push_str(
            "\nThe head is a linear layer on the first token: `head.safetensors`. transformers has no class for it.\n",
        );
    }
    card
}
