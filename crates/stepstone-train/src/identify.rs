//! What can be known about a run before it starts. A plan needs ids, lengths and memory of runs whose start points do
//! not exist yet.

use crate::bridge::{answers, tokenizer_family};
use crate::error::TrainError;
use crate::folder::{Identity, RunRecord};
use crate::overrides::Layer;
use crate::preset::Preset;
use crate::recipe::Recipe;
use crate::role::Role;
use crate::start::run_digest;
use serde::{Deserialize, Serialize};
use std::path::Path;
use stepstone_engine::{BatchShape, MemoryPlan};
use stepstone_models::{Classifier, EncoderConfig, Weights};
use stepstone_tasks::{Example, Task, TaskData, Tokenizer};

/// Raised when a change of the program changes a score.
const NUMERICS: u32 = 4;
/// Width of the arithmetic.
const PRECISION: &str = "f32";
/// Kind of device.
const DEVICE: &str = "cpu";
/// Inputs tokenised in each split to estimate the lengths of all.
const SAMPLE: usize = 256;
/// Parameter-sized arrays that exist while a resume point is written: four arenas, the best weights, three arenas on
/// their way to the file, and one of them as bytes.
const ARENAS: usize = 9;
/// Approximate size of the program, the tokenizer and a task's examples.
const FIXED_BYTES: u64 = 64 << 20;

/// A pretrained encoder with its tokenizer, read once for all runs of a study.
#[derive(Debug)]
pub struct EncoderIdentity {
    config: EncoderConfig,
    digest: String,
    tokenizer: Tokenizer,
}

/// Tokens of a task's inputs, estimated from a sample.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Lengths {
    /// Mean over training examples, all choices of a question together.
    pub train: f64,
    /// Mean over dev examples, all choices of a question together.
    pub dev: f64,
    /// The longest sequence of the sample.
    pub longest: usize,
}

/// Builds a run's identity. Plans and runs both call this, so that their ids agree.
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
        // Loaded with all positions, because `max_length` differs between recipes; `sample` applies it.
        let tokenizer = Tokenizer::load(folder, tokenizer_family(config.family), config.usable_positions())?;
        Ok(Self { config, digest, tokenizer })
    }

    /// The recipe of a task with `train` training examples in a role.
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

    /// The record that [`crate::Run::prepare`] will compute for this task, starting from the encoder itself or from the
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
        // Every n-th example rather than the first: files are often sorted by length or by source.
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

    /// Estimated peak memory of a run in bytes; errs on the high side.
    pub fn peak_bytes(&self, recipe: &Recipe, task: &Task, labels: usize, longest: usize) -> u64 {
        let model = Classifier::new(&self.config, recipe.head, answers(task, labels));
        // Memory follows the largest micro-batch, which has one example more where the batch does not divide evenly.
        let examples = recipe.schedule.batch_size.div_ceil(recipe.schedule.gradient_accumulation_steps);
        let sequences = examples * task.sequences_per_example();
        // All sequences count as long as the longest of the sample; random batches come close to that now and then.
        let shape = BatchShape { tokens: sequences * longest, sequences };
        // The backward pass needs more than any evaluation, so training alone is planned.
        let activations = MemoryPlan::new(&model.training_pass().program, shape).len;
        ((ARENAS * model.layout.len + activations) * size_of::<f32>()) as u64 + FIXED_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overrides::{Overrides, Source};
    use crate::run::{Run, RunRequest};
    use crate::start::StartPoint;
    use stepstone_tasks::{Files, load};

    /// Identities with their ids, as written by versions whose recipes had no groups.
    const WRITTEN: [(&str, &str); 2] = [
        (
            "19643f3e1a928203",
            r#"{"numerics":3,"encoder":"d751ae0e213f4fc10c5f7f39de2fd1724957d635259e663686efe2eeaab4b985","tokenizer":"f22125724416095f5e4262c3910c467e5055ca9e6c421e82304bae37e417a7a4","task":"sst2","role":"target","data":"cf28da8a2779cdbcb79597dcbbddc5331bfa6ebb90686a869f387c58a65efbb6","labels":["0","1"],"recipe":{"head":"hf","optimizer":"adam_w","learning_rate":0.00005,"weight_decay":0.01,"adam_beta1":0.9,"adam_beta2":0.999,"adam_epsilon":1e-8,"max_grad_norm":1.0,"max_tensor_norm":0.0,"classifier_dropout":null,"warmup":{"ratio":0.1},"total_steps":12,"batch_size":16,"gradient_accumulation_steps":1,"max_length":32,"pieces":"joined","evaluations":1,"patience":null,"selection_examples":null,"max_train":400,"max_dev":60},"seed":0,"precision":"f32","device":"cpu"}"#,
        ),
        (
            "f4fc793ac5c629ee",
            r#"{"numerics":3,"encoder":"d751ae0e213f4fc10c5f7f39de2fd1724957d635259e663686efe2eeaab4b985","tokenizer":"f22125724416095f5e4262c3910c467e5055ca9e6c421e82304bae37e417a7a4","task":"cb","role":"target","data":"c070b8d37ee5d53bb94b1f67ee7115eb90532477403a269dff3c4ace11b5df13","labels":["neutral","entailment","contradiction"],"recipe":{"head":"linear","optimizer":"bert_adam","learning_rate":0.00001,"weight_decay":0.01,"adam_beta1":0.9,"adam_beta2":0.999,"adam_epsilon":1e-6,"max_grad_norm":5.0,"max_tensor_norm":1.0,"classifier_dropout":0.2,"warmup":{"steps":1},"total_steps":1,"batch_size":4,"gradient_accumulation_steps":1,"max_length":16,"pieces":"apart","evaluations":1,"patience":20,"selection_examples":5000,"max_train":null,"max_dev":4},"seed":7,"precision":"f32","device":"cpu"}"#,
        ),
    ];

    #[test]
    fn identities_keep_their_bytes_and_ids_from_version_to_version() {
        for (id, text) in WRITTEN {
            let identity: Identity = serde_json::from_str(text).expect(id);
            assert_eq!(serde_json::to_string(&identity).expect(id), text);
            assert_eq!(RunRecord::new(identity).expect(id).id, id);
        }
    }

    #[test]
    fn a_plan_and_a_run_find_the_same_record() {
        let folder = tempfile::tempdir().expect("folder");
        stepstone_fixtures::copy_encoder(folder.path(), &["a", "the"]);
        let encoder = EncoderIdentity::read(folder.path()).expect("an encoder");
        let overrides = Overrides { max_length: Some(16), max_train: Some(3), ..Overrides::default() };
        let layers = vec![Layer { source: Source::Flag, overrides }];
        for (name, role) in [("rte", Role::Target), ("sst2", Role::Intermediate), ("copa", Role::Probe)] {
            let task = stepstone_tasks::find(name).expect(name);
            let data = load(task, &stepstone_fixtures::tasks(), &Files::default()).expect(name);
            for after in [None, Some("0123456789abcdef")] {
                let recipe = encoder.recipe((task, role), data.train.len(), Preset::Default, &layers).expect(name);
                let planned = encoder.identify(after, (task, role), &data, recipe, 5).expect(name);
                let request = RunRequest {
                    start: StartPoint { folder: folder.path().into(), run: after.map(String::from) },
                    task: name.into(),
                    role,
                    data: stepstone_fixtures::tasks(),
                    files: Files::default(),
                    seed: 5,
                    preset: Preset::Default,
                    layers: layers.clone(),
                    out: None,
                    keep_model: false,
                    threads: 1,
                };
                assert_eq!(planned, Run::prepare(&request).expect(name).record, "{name} as {role} after {after:?}");
            }
        }
    }

    #[test]
    fn memory_grows_with_the_batch_and_shrinks_with_its_parts() {
        let folder = tempfile::tempdir().expect("folder");
        stepstone_fixtures::copy_encoder(folder.path(), &["a"]);
        let encoder = EncoderIdentity::read(folder.path()).expect("an encoder");
        let rte = stepstone_tasks::find("rte").expect("rte");
        let bytes = |batch_size: usize, parts: usize| {
            let overrides = Overrides {
                max_length: Some(16),
                batch_size: Some(batch_size),
                gradient_accumulation_steps: Some(parts),
                ..Overrides::default()
            };
            let layers = [Layer { source: Source::Flag, overrides }];
            let recipe = encoder.recipe((rte, Role::Target), 100, Preset::Default, &layers).expect("a recipe");
            encoder.peak_bytes(&recipe, rte, 2, 16)
        };
        assert!(bytes(8, 1) < bytes(16, 1));
        assert_eq!(bytes(8, 1), bytes(16, 2), "parts of eight examples each");
    }
}
