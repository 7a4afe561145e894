//! A run, made ready: everything read and checked before the first step.

use crate::batches::{PackShape, Split};
use crate::error::TrainError;
use crate::folder::{FORMAT, Identity, RunFolder, RunRecord};
use crate::recipe::{Overrides, Recipe};
use std::path::{Path, PathBuf};
use stepstone_models::{EncoderConfig, Family, Weights};
use stepstone_tasks::{Task, TaskData, Tokenizer, TokenizerFamily, load};

/// Raised when a change of the program moves a score.
const NUMERICS: u32 = 2;

/// What to train.
#[derive(Debug, Clone)]
pub struct RunRequest<'a> {
    /// Folder of the encoder.
    pub model: &'a Path,
    /// The task.
    pub task: &'static Task,
    /// Folder that holds one folder per task.
    pub data: &'a Path,
    /// Restart number.
    pub seed: u64,
    /// Values that differ from the preset.
    pub overrides: Overrides,
    /// The run folder; None: `runs/<id>`.
    pub out: Option<&'a Path>,
    /// Threads of the device.
    pub threads: usize,
}

/// Everything a training loop needs.
#[derive(Debug)]
pub struct Run {
    /// The folder it writes.
    pub folder: RunFolder,
    /// Identity, id and sources.
    pub record: RunRecord,
    /// Share of training inputs that are cut at `max_length`, 0..1.
    pub truncated: f64,
    pub(crate) config: EncoderConfig,
    pub(crate) weights: Weights,
    pub(crate) task: &'static Task,
    pub(crate) data: TaskData,
    pub(crate) train: Split,
    pub(crate) dev: Split,
    pub(crate) tokenizer_files: Vec<PathBuf>,
    pub(crate) threads: usize,
}

impl Run {
    /// Reads model and data, resolves the recipe, and fixes the id.
    ///
    /// # Errors
    /// If any input is missing, corrupt or impossible.
    pub fn prepare(request: &RunRequest<'_>) -> Result<Run, TrainError> {
        let config = EncoderConfig::read(request.model)?;
        let weights = Weights::open(request.model, &config)?;
        let data = load(request.task, request.data)?;
        let recipe = Recipe::resolve(&config, data.train.len(), &request.overrides)?;
        let tokenizer = Tokenizer::load(request.model, tokenizer_family(config.family), recipe.max_length)?;
        let (train, dev) = (Split::new(&data.train, &tokenizer)?, Split::new(&data.dev, &tokenizer)?);
        for feature in train.features.iter().chain(&dev.features) {
            if let Some(id) = feature.ids.iter().find(|id| **id as usize >= config.vocab_size) {
                let (folder, vocab_size) = (request.model.into(), config.vocab_size);
                return Err(TrainError::Vocabulary { folder, id: *id, vocab_size });
            }
        }
        let record = record(&weights, &tokenizer, &data, request, recipe)?;
        let default = Path::new("runs").join(&record.id);
        Ok(Run {
            folder: RunFolder::new(request.out.unwrap_or(&default)),
            record,
            truncated: train.truncated,
            config,
            weights,
            task: request.task,
            data,
            train,
            dev,
            tokenizer_files: tokenizer.files().to_vec(),
            threads: request.threads,
        })
    }

    pub(crate) fn recipe(&self) -> &Recipe {
        &self.record.identity.recipe
    }

    pub(crate) fn pack_shape(&self) -> PackShape {
        pack_shape(&self.config)
    }

    /// The seed of every random number of the run: a hash of restart and task, not of the start point, so that
    /// restarts are paired across start points.
    pub(crate) fn seed(&self) -> u64 {
        let text = format!("stepstone seed {} {}", self.record.identity.seed, self.task.name);
        let hash = blake3::hash(text.as_bytes());
        hash.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }
}

pub(crate) fn tokenizer_family(family: Family) -> TokenizerFamily {
    match family {
        Family::Bert => TokenizerFamily::Bert,
        Family::Roberta => TokenizerFamily::Roberta,
    }
}

pub(crate) fn pack_shape(config: &EncoderConfig) -> PackShape {
    let one_segment = config.family == Family::Roberta || config.type_vocab_size == 1;
    PackShape { position_offset: config.position_offset(), one_segment }
}

fn record(
    weights: &Weights,
    tokenizer: &Tokenizer,
    data: &TaskData,
    request: &RunRequest<'_>,
    recipe: Recipe,
) -> Result<RunRecord, TrainError> {
    let sources = recipe.sources.iter().map(|(key, source)| ((*key).to_string(), *source)).collect();
    let identity = Identity {
        numerics: NUMERICS,
        encoder: weights.digest()?,
        tokenizer: tokenizer.digest().to_string(),
        task: request.task.name.into(),
        data: data.digest.clone(),
        labels: data.labels.clone(),
        recipe,
        seed: request.seed,
        precision: "f32".into(),
        device: "cpu".into(),
    };
    let text = serde_json::to_string(&identity).map_err(|error| TrainError::BadRun {
        path: "run.json".into(),
        found: error.to_string(),
        expected: "a recipe that JSON can hold".into(),
    })?;
    let id = blake3::hash(text.as_bytes()).to_hex()[..16].to_string();
    Ok(RunRecord { format: FORMAT, id, identity, sources })
}
