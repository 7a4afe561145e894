//! Loads weights into a device and saves them from it.

use crate::error::TrainError;
use crate::run::Run;
use crate::start::is_missing_pooler;
use std::path::Path;
use stepstone_engine::{Arena, Device, Part, rng};
use stepstone_models::{
    Classifier, EncoderConfig, Folder, HeadKind, NamedTensor, Weights, is_head_tensor, new_values, write_safetensors,
};

/// Counter stream of new tensors; the tensor's place in the layout is added.
// Far above the streams of the shuffles, which are numbered by epoch.
const INITIAL_STREAM: u32 = 1 << 20;

/// File beside `model.safetensors` that holds a head for which transformers has no class.
pub(crate) const HEAD_FILE: &str = "head.safetensors";

/// Whether heads get new values (training) or are loaded with the encoder (prediction).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heads {
    New { seed: u64 },
    Loaded,
}

/// Loads every tensor of `model`; returns the names of those that got new values.
pub(crate) fn load(
    model: &Classifier,
    config: &EncoderConfig,
    head: HeadKind,
    weights: &Weights,
    heads: Heads,
    device: &mut dyn Device,
) -> Result<Vec<String>, TrainError> {
    let mut new = Vec::new();
    for (number, part) in model.layout.parts().enumerate() {
        let data = match heads {
            Heads::New { seed } if is_head_tensor(&part.name) || is_missing_pooler(&part.name, weights) => {
                new.push(part.name.clone());
                initial(part, config, head, seed, INITIAL_STREAM + number as u32)
            }
            // A missing tensor is an error here: only poolers and heads may get new values.
            Heads::New { .. } | Heads::Loaded => {
                let mut data = vec![0.0; part.param.len()];
                weights.read(&part.name, &part.shape, &mut data)?;
                data
            }
        };
        device.load(Arena::Parameters, part.param.offset, &data);
    }
    Ok(new)
}

/// Initial values as `transformers` draws them. The `linear` head is uniform in +-1/sqrt(fan in), weight and bias, as
/// in the paper's framework.
fn initial(part: &Part, config: &EncoderConfig, head: HeadKind, seed: u64, stream: u32) -> Vec<f32> {
    if head == HeadKind::Linear && is_head_tensor(&part.name) {
        // `torch.nn.Linear` of that time draws weight and bias from the same range.
        let bound = 1.0 / (config.hidden_size as f64).sqrt();
        let value = |i| (bound * (2.0 * rng::uniform(seed, stream, i as u64) - 1.0)) as f32;
        return (0..part.param.len()).map(value).collect();
    }
    new_values(part, config.initializer_range, seed, stream)
}

/// Writes `parameters` as a Hugging Face folder. transformers has no class for a `linear` head: it goes into
/// [`HEAD_FILE`] beside the encoder. A pooler that the head does not use is copied unchanged: a later stage may use it.
pub(crate) fn save(dir: &Path, run: &Run, model: &Classifier, parameters: &[f32]) -> Result<(), TrainError> {
    let (config, head) = (&run.start.config, run.recipe().head);
    let tensor = |part: &Part| {
        let prefix = if is_head_tensor(&part.name) { "" } else { config.family.prefix() };
        let name = format!("{prefix}{}", part.name);
        NamedTensor { name, shape: part.shape.clone(), data: &parameters[part.param.range()] }
    };
    // Loaders of transformers refuse or ignore names they do not know, so the head goes into a file of its own.
    let apart = |part: &&Part| head == HeadKind::Linear && is_head_tensor(&part.name);
    let pooler = unused_pooler(model, config, &run.start.weights)?;
    let carried = pooler.iter().map(|(name, shape, data)| {
        let name = format!("{}{name}", config.family.prefix());
        NamedTensor { name, shape: shape.clone(), data }
    });
    let trained = model.layout.parts().filter(|part| !apart(part)).map(tensor);
    let tensors: Vec<NamedTensor> = trained.chain(carried).collect();
    let (answers, labels, tokenizer_files) = (model.answers, &run.data.labels, &run.start.tokenizer_files);
    Folder { config, head, answers, labels, tensors: &tensors, tokenizer_files }.save(dir)?;
    if head == HeadKind::Linear {
        let tensors: Vec<NamedTensor> = model.layout.parts().filter(apart).map(tensor).collect();
        write_safetensors(&dir.join(HEAD_FILE), &tensors, ("format", "pt".into()))?;
    }
    Ok(())
}

/// Name, shape and values of a tensor.
type Carried = (String, Vec<usize>, Vec<f32>);

/// The pooler of the start point, if it has one and `model` does not train it.
fn unused_pooler(model: &Classifier, config: &EncoderConfig, weights: &Weights) -> Result<Vec<Carried>, TrainError> {
    let hidden = config.hidden_size;
    let tensors = [("pooler.dense.weight", vec![hidden, hidden]), ("pooler.dense.bias", vec![hidden])];
    let mut pooler = Vec::new();
    for (name, shape) in tensors {
        if weights.contains(name) && model.layout.parts().all(|part| part.name != name) {
            let mut data = vec![0.0; shape.iter().product()];
            weights.read(name, &shape, &mut data)?;
            pooler.push((name.to_owned(), shape, data));
        }
    }
    Ok(pooler)
}
