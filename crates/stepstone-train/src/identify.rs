//! What can be known of a run before it can start: a plan needs ids, lengths and memory of runs whose start points do not
//! exist yet.

use crate::error::TrainError;
use crate::folder::{Identity, RunRecord};
use crate::overrides::Layer;
use crate::preset::Preset;
use crate::recipe::Recipe;
use crate::role::Role;
use crate::run::{answers, tokenizer_family};
use crate::start::run_digest;
use std::path::Path;
use stepstone_engine::{BatchShape, MemoryPlan};
use stepstone_models::{Classifier, EncoderConfig, Weights};
use stepstone_tasks::{Example, Task, TaskData, Tokenizer};

/// Raised when a change of the program moves a score.
const NUMERICS: u32 = 4;
/// Width of the arithmetic.
const PRECISION: &str = "f32";
/// Kind of device.
const DEVICE: &str = "cpu";
/// Inputs that are tokenised to know the lengths of all.
const SAMPLE: usize = 256;
/// Parameter-sized arrays that exist while a resume point is written: four arenas, the best weights, three arenas on
/// their way to the file, and one of them as bytes.
const ARENAS: usize = 9;
/// The program, the tokenizer and a task's examples, about.
const FIXED_BYTES: u64 = 64 << 20;

/// A pretrained encoder with its tokenizer, read once for all runs of a study.
#[derive(Debug)]
pub struct EncoderIdentity {
    config: EncoderConfig,
    digest: String,
    tokenizer: Tokenizer,
}

/// Tokens of a task's inputs, estimated from a sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lengths {
    /// Mean over training examples, all choices of a question together.
    pub train: f64,
    /// Mean over dev examples, likewise.
    pub dev: f64,
    /// The longest sequence of the sample.
    pub longest: usize,
}

/// Puts a run's identity together, for a plan and for a run alike: what both must agree on is written once.
pub(crate) fn identity(
    encoder: String,
    tokenizer: &Tokenizer,
    (task, role): (&Task, Role),
    data: &TaskData,
    recipe: Recipe,
    seed: u64,
) -> Identity {
    Identity {
        numerics: NUMERICS,
        encoder,
        tokenizer: tokenizer.digest().to_owned(),
        task: task.name.into(),
        role,
        data: data.digest.clone(),
        labels: data.labels.clone(),
        recipe,
        seed,
        precision: PRECISION.into(),
        device: DEVICE.into(),
    }
}

impl EncoderIdentity {
    /// Reads a Hugging Face folder.
    ///
    /// # Errors
    /// If a file is missing or corrupt.
    pub fn read(folder: &Path) -> Result<Self, TrainError> {
        let config = EncoderConfig::read(folder)?;
        let digest = Weights::open(folder, &config)?.digest()?;
        let tokenizer = Tokenizer::load(folder, tokenizer_family(config.family), config.usable_positions())?;
        Ok(Self { config, digest, tokenizer })
    }

    /// The recipe of a task of `train` examples in a role.
    ///
    /// # Errors
    /// As [`Recipe::resolve`].
    pub fn recipe(
        &self,
        task: (&Task, Role),
        train: usize,
        preset: Preset,
        layers: &[Layer],
    ) -> Result<Recipe, TrainError> {
        Recipe::resolve(preset, &self.config, task, train, layers)
    }

    /// The record that [`crate::Run::prepare`] will find for this task: starting from the encoder itself, or from the
    /// encoder that run `after` makes. `data` is the whole task, without limits.
    ///
    /// # Errors
    /// If JSON cannot hold a value of the recipe.
    pub fn identify(
        &self,
        after: Option<&str>,
        task: (&Task, Role),
        data: &TaskData,
        recipe: Recipe,
        seed: u64,
    ) -> Result<RunRecord, TrainError> {
        let encoder = after.map_or_else(|| self.digest.clone(), run_digest);
        RunRecord::new(identity(encoder, &self.tokenizer, task, data, recipe, seed))
    }

    /// Lengths of a task's inputs, cut at `max_length`.
    ///
    /// # Errors
    /// If the tokenizer fails on an input.
    pub fn lengths(&self, data: &TaskData, max_length: usize) -> Result<Lengths, TrainError> {
        let (train, longest_train) = self.sample(&data.train, max_length)?;
        let (dev, longest_dev) = self.sample(&data.dev, max_length)?;
        Ok(Lengths { train, dev, longest: longest_train.max(longest_dev) })
    }

    /// Mean and maximum over an even sample.
    fn sample(&self, examples: &[Example], max_length: usize) -> Result<(f64, usize), TrainError> {
        let every = examples.len().div_ceil(SAMPLE).max(1);
        let (mut sum, mut longest, mut count) = (0, 0, 0);
        for example in examples.iter().step_by(every) {
            let features = self.tokenizer.encode(&example.text)?;
            let lengths = features.iter().map(|feature| feature.ids.len().min(max_length));
            (sum, count) = (sum + lengths.clone().sum::<usize>(), count + 1);
            longest = longest.max(lengths.max().unwrap_or(0));
        }
        Ok((sum as f64 / f64::from(count.max(1)), longest))
    }

    /// Memory that a run takes at its peak, in bytes; an estimate that errs to the high side.
    pub fn peak_bytes(&self, recipe: &Recipe, task: &Task, labels: usize, longest: usize) -> u64 {
        let model = Classifier::new(&self.config, recipe.head, answers(task, labels));
        let examples = recipe.schedule.batch_size.div_ceil(recipe.schedule.gradient_accumulation_steps);
        let sequences = examples * task.sequences_per_example();
        let shape = BatchShape { tokens: sequences * longest, sequences };
        let activations = MemoryPlan::new(&model.training_pass().program, shape).len;
        ((ARENAS * model.layout.len + activations) * size_of::<f32>()) as u64 + FIXED_BYTES
    }
}
