//! Prepares a run: everything is read and checked before the first step.

use crate::batches::{PackShape, Split};
use crate::bridge::{answers, pack_shape, tokenizer_family};
use crate::error::TrainError;
use crate::folder::{RunFolder, RunRecord};
use crate::identify::identity;
use crate::overrides::Layer;
use crate::preset::Preset;
use crate::recipe::Recipe;
use crate::role::Role;
use crate::start::{StartPoint, is_missing_pooler};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use stepstone_models::{Answers, Classifier, EncoderConfig, Weights};
use stepstone_tasks::{Example, Files, Task, TaskData, Tokenizer, load};

/// What to train. Paths say where to find things; they do not enter the run's id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRequest {
    /// Where the weights come from.
    pub start: StartPoint,
    /// Name of the task.
    pub task: String,
    /// Role of the task.
    pub role: Role,
    /// Folder that holds one folder per task.
    pub data: PathBuf,
    /// Replacements for the task's own files, relative to the task's folder.
    pub files: Files,
    /// Restart number.
    pub seed: u64,
    /// Starting values of the recipe.
    pub preset: Preset,
    /// Values that differ from the preset.
    pub layers: Vec<Layer>,
    /// The run folder; None means `runs/<id>`.
    pub out: Option<PathBuf>,
    /// Whether `model/` is written.
    pub keep_model: bool,
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
    /// Notes about encoder and data that the user should see once.
    pub notes: Vec<String>,
    /// Share of training inputs that are cut at `max_length`, 0..1.
    pub truncated: f64,
    pub(crate) start: OpenedStart,
    pub(crate) task: &'static Task,
    pub(crate) data: TaskData,
    pub(crate) train: Split,
    pub(crate) dev: Split,
    pub(crate) keep_model: bool,
    pub(crate) threads: usize,
}

/// The files of a start point, read as far as the first step needs them.
#[derive(Debug)]
pub(crate) struct OpenedStart {
    pub(crate) config: EncoderConfig,
    pub(crate) weights: Weights,
    /// They are copied unchanged into the run's own `model/`.
    pub(crate) tokenizer_files: Vec<PathBuf>,
}

impl Run {
    /// Reads model and data, resolves the recipe, and fixes the id.
    ///
    /// # Errors
    /// If any input is missing, corrupt or impossible.
    pub fn prepare(request: &RunRequest) -> Result<Self, TrainError> {
        let task = stepstone_tasks::find(&request.task)?;
        // Inputs are read in the order in which their errors help most: encoder, data, recipe, then what needs them
        // all.
        let (start, folder) = (&request.start, &request.start.folder);
        let mut config = EncoderConfig::read(folder).map_err(|error| start.explain(error.into()))?;
        let weights = Weights::open(folder, &config).map_err(|error| start.explain(error.into()))?;
        let mut data = load(task, &request.data, &request.files)?;
        let role = request.role;
        let recipe = Recipe::resolve(request.preset, &config, (task, role), data.train.len(), &request.layers)?;
        // The recipe overrides config.json, also in the model that the run saves.
        if let Some(dropout) = recipe.classifier_dropout {
            config.classifier_dropout = Some(dropout as f32);
        }
        // Limited after the recipe is resolved, because the limits are values of it. The digest covers the whole files.
        data.limit(recipe.limits.max_train, recipe.limits.max_dev);
        let tokenizer = Tokenizer::load(folder, tokenizer_family(config.family), recipe.inputs.max_length);
        let tokenizer = tokenizer.map_err(|error| start.explain(error.into()))?.with_pieces(recipe.inputs.pieces);
        let choices = task.sequences_per_example();
        let split = |examples: &[Example]| Split::new(examples, choices, &tokenizer, (&config, folder));
        let (train, dev) = (split(&data.train)?, split(&data.dev)?);
        let answers = answers(task, data.labels.len());
        // A model without a device is cheap; only its list of tensors is needed.
        let pooler = new_pooler_note(&Classifier::new(&config, recipe.head, answers), &config, &weights);
        let encoder = start.digest(&weights)?;
        let record = RunRecord::new(identity(encoder, &tokenizer, (task, role), &data, recipe, request.seed))?;
        let default = Path::new("runs").join(&record.id);
        Ok(Self {
            folder: RunFolder::new(request.out.as_ref().unwrap_or(&default)),
            record,
            truncated: train.truncated,
            notes: data.notes.iter().cloned().chain(data.one_class_note()).chain(pooler).collect(),
            start: OpenedStart { config, weights, tokenizer_files: tokenizer.files().to_vec() },
            task,
            data,
            train,
            dev,
            keep_model: request.keep_model,
            threads: request.threads,
        })
    }

    pub(crate) fn recipe(&self) -> &Recipe {
        &self.record.identity.recipe
    }

    pub(crate) fn pack_shape(&self) -> PackShape {
        pack_shape(&self.start.config)
    }

    /// The answers among which the model decides.
    pub(crate) fn answers(&self) -> Answers {
        answers(self.task, self.data.labels.len())
    }

    /// The seed of every random number of the run: a hash of restart, role and task, not of the start point, so that
    /// restarts are paired across start points.
    pub(crate) fn seed(&self) -> u64 {
        let identity = &self.record.identity;
        let text = format!("stepstone seed {} {} {}", identity.seed, identity.role, self.task.name);
        let hash = blake3::hash(text.as_bytes());
        // A hash has 32 bytes, so the fallback is never used.
        hash.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }
}

/// A new pooler is untrained, which can cost a task with little data some of its score.
fn new_pooler_note(model: &Classifier, config: &EncoderConfig, weights: &Weights) -> Option<String> {
    let missing = model.layout.parts().any(|part| is_missing_pooler(&part.name, weights));
    missing.then(|| format!("the encoder has no pooler: a new one is drawn from N(0, {})", config.initializer_range))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{place, request, run};
    use safetensors::SafeTensors;
    use serde_json::json;
    use std::fs;

    #[test]
    fn a_model_of_a_run_that_is_damaged_or_gone_is_named_by_its_run_and_not_to_be_downloaded_again() {
        let place = place();
        let start = StartPoint { folder: place.path().join("model"), run: Some("0123456789abcdef".into()) };
        let request = RunRequest { start, ..request(place.path(), "run", &json!({})) };
        Run::prepare(&request).expect("a whole model");
        for name in ["vocab.txt", "model.safetensors", "config.json"] {
            for damage in ["", "<html>"] {
                fs::write(request.start.folder.join(name), damage).expect("writes");
                let error = Run::prepare(&request).expect_err(name);
                let TrainError::Start { run, source } = &error else { panic!("{name} {damage:?}: {error:?}") };
                assert!(run == "0123456789abcdef" && source.to_string().contains(name), "{error:?}");
                let hint = error.hint().expect("a hint");
                assert!(hint.contains("trains run 0123456789abcdef again"), "{hint}");
            }
        }
        fs::remove_dir_all(&request.start.folder).expect("removes");
        assert!(matches!(Run::prepare(&request), Err(TrainError::Start { .. })), "no folder at all");
        let downloaded = RunRequest { start: StartPoint::encoder(&request.start.folder), ..request };
        assert!(matches!(Run::prepare(&downloaded), Err(TrainError::Model(_))), "an encoder's own error");
    }

    #[test]
    fn a_new_pooler_is_noted_if_the_head_uses_it() {
        let place = place();
        let noted = |out: &str, head: &str| {
            let notes = run(place.path(), out, &json!({"head": head})).notes;
            notes.iter().any(|note| note == "the encoder has no pooler: a new one is drawn from N(0, 0.02)")
        };
        assert!(!noted("with", "hf"), "the encoder has one");
        let path = place.path().join("model/model.safetensors");
        let bytes = fs::read(&path).expect("weights");
        let tensors = SafeTensors::deserialize(&bytes).expect("tensors").tensors();
        let rest = tensors.into_iter().filter(|(name, _)| !name.contains("pooler"));
        fs::write(&path, safetensors::serialize(rest, None).expect("serializes")).expect("writes");
        assert!(noted("without", "hf"));
        assert!(!noted("linear", "linear"), "this head reads the first token's state");
    }
}
