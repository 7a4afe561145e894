//! Random weights: for new tensors, and for whole encoders, so that the demo and the benchmarks need no download.

use crate::classifier::Classifier;
use crate::config::EncoderConfig;
use crate::error::ModelError;
use crate::head::{Answers, HeadKind, is_head_tensor};
use crate::save::{NamedTensor, write_safetensors};
use std::path::Path;
use stepstone_engine::{Part, rng};

/// Initial values of a tensor, distributed as in `transformers`: layer-norm gains are 1, biases are 0, and the rest is
/// normal with mean 0 and standard deviation `initializer_range`. Each value is a function of `seed`, `stream` and its
/// index.
pub fn new_values(part: &Part, initializer_range: f32, seed: u64, stream: u32) -> Vec<f32> {
    let range = f64::from(initializer_range);
    match part.shape.len() {
        1 if part.name.ends_with("LayerNorm.weight") => vec![1.0; part.param.len()],
        // All other vectors are biases.
        1 => vec![0.0; part.param.len()],
        _ => (0..part.param.len()).map(|i| (range * rng::normal(seed, stream, i as u64)) as f32).collect(),
    }
}

/// Writes `folder/model.safetensors`: a random encoder with a pooler. Tensor `i` draws from counter stream `i`.
///
/// # Errors
/// If the system refuses a write.
pub fn write_random_encoder(folder: &Path, config: &EncoderConfig, seed: u64) -> Result<(), ModelError> {
    // This head is chosen because it declares the pooler. The classifier itself comes last and is not written, so it
    // does not change the stream of any tensor.
    let model = Classifier::new(config, HeadKind::Hf, Answers::Choices(2));
    let encoder = model.layout.parts().filter(|part| !is_head_tensor(&part.name)).enumerate();
    let values = |(number, part)| (part, new_values(part, config.initializer_range, seed, number as u32));
    let data: Vec<(&Part, Vec<f32>)> = encoder.map(values).collect();
    let tensors: Vec<NamedTensor<'_>> = data
        .iter()
        .map(|(part, data)| NamedTensor { name: part.name.clone(), shape: part.shape.clone(), data })
        .collect();
    write_safetensors(&folder.join("model.safetensors"), &tensors, ("format", "pt".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Weights;
    use serde_json::json;

    fn config() -> EncoderConfig {
        let json = json!({"model_type": "bert", "vocab_size": 300, "hidden_size": 16, "num_attention_heads": 2,
            "num_hidden_layers": 1, "intermediate_size": 8, "max_position_embeddings": 6});
        EncoderConfig::from_json(json.as_object().expect("an object").clone()).expect("a possible config")
    }

    #[test]
    fn a_random_encoder_opens_and_its_tensors_have_their_own_means_and_spreads() {
        let (folder, config) = (tempfile::tempdir().expect("folder"), config());
        std::fs::write(folder.path().join("config.json"), serde_json::to_string(&config.json).expect("JSON"))
            .expect("config.json");
        write_random_encoder(folder.path(), &config, 7).expect("writes");
        let weights = Weights::open(folder.path(), &config).expect("opens");
        let read = |name: &str, shape: &[usize]| {
            let mut values = vec![0.0; shape.iter().product()];
            weights.read(name, shape, &mut values).expect(name);
            values
        };
        assert_eq!(read("embeddings.LayerNorm.weight", &[16]), [1.0; 16]);
        assert_eq!(read("pooler.dense.bias", &[16]), [0.0; 16]);
        let words = read("embeddings.word_embeddings.weight", &[300, 16]);
        let variance = words.iter().map(|v| f64::from(v * v)).sum::<f64>() / words.len() as f64;
        // The mean of n squares of N(0, 1) has standard deviation sqrt(2 / n), which is 0.02 for 4800; the bound is 5
        // times that.
        assert!((variance / 0.02f64.powi(2) - 1.0).abs() < 0.1, "{variance}");
        let others = read("pooler.dense.weight", &[16, 16]);
        assert_ne!(words[..16], others[..16], "two tensors draw the same numbers");
    }
}
