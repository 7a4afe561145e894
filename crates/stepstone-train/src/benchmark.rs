//! The step that benchmarks measure: made-up encoders and batches, real kernels.
//!
//! The batches are those of bench/README.md: 32 sequences each, lengths from `lengths.txt` in its order (mean 38.7,
//! close to MNLI's), random ids. A training step makes the same calls as the trainer: pack, forward, backward, clip,
//! AdamW.

use crate::error::TrainError;
use serde_json::json;
use stepstone_engine::{
    AdamW, Arena, Batch, CpuDevice, Device, InstructionSet, Scalars, Sequence, Threads, Times, Update, fma_rate, rng,
};
use stepstone_models::{Answers, Classifier, EncoderConfig, HeadKind, InferencePass, TrainingPass, new_values};

/// The list of lengths, which `bench/peer_step.py` reads too.
const LENGTHS: &str = include_str!("lengths.txt");
const SEQUENCES_PER_BATCH: usize = 32;
const LABELS: usize = 3;
/// Ids below this are special tokens in both vocabularies.
const FIRST_ORDINARY_ID: u32 = 5;
const SEED: u64 = 1;
/// Counter streams of the random numbers here; parameter tensors have one stream each, counted from `PARAMETERS`.
const IDS: u32 = 1;
const GOLD: u32 = 2;
const PARAMETERS: u32 = 1 << 16;

/// An encoder to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// BERT, 4 layers of width 256, 4 heads, feed-forward 1,024, vocabulary 30,522.
    S,
    /// BERT, 6 layers of width 384, 12 heads, feed-forward 1,536, vocabulary 30,522.
    M,
    /// RoBERTa-base: 12 layers of width 768, 12 heads, feed-forward 3,072, vocabulary 50,265.
    B,
}

impl Shape {
    fn config(self) -> EncoderConfig {
        let json = match self {
            Self::S => json!({"model_type": "bert", "num_hidden_layers": 4, "hidden_size": 256,
                "num_attention_heads": 4, "intermediate_size": 1024}),
            Self::M => json!({"model_type": "bert", "num_hidden_layers": 6, "hidden_size": 384,
                "num_attention_heads": 12, "intermediate_size": 1536}),
            Self::B => json!({"model_type": "roberta", "max_position_embeddings": 514, "type_vocab_size": 1,
                "layer_norm_eps": 1e-5}),
        };
        EncoderConfig::from_json(json.as_object().cloned().unwrap_or_default()).expect("these values are possible")
    }

    /// Batches of one pass.
    fn batches(self) -> usize {
        match self {
            Self::S => 20,
            Self::M => 10,
            Self::B => 4,
        }
    }
}

/// An encoder with random weights, and its batches.
#[derive(Debug)]
pub struct Benchmark {
    device: CpuDevice,
    training: TrainingPass,
    inference: InferencePass,
    decays: Vec<bool>,
    batches: Vec<Batch>,
    steps: u64,
    fma_rate: f64,
}

impl Benchmark {
    /// Makes the encoder and its batches; measures the machine's FMA rate.
    ///
    /// # Errors
    /// If the threads cannot be started.
    pub fn new(shape: Shape, threads: usize, instructions: InstructionSet) -> Result<Self, TrainError> {
        let config = shape.config();
        let pool = Threads::with_instructions(threads, instructions)
            .map_err(|source| TrainError::Threads { threads, source })?;
        let fma_rate = fma_rate(&pool);
        let model = Classifier::new(&config, HeadKind::Hf, Answers::Classes(LABELS));
        let mut device = CpuDevice::new(model.layout.len, pool);
        for (number, part) in model.layout.parts().enumerate() {
            let data = new_values(part, config.initializer_range, SEED, PARAMETERS + number as u32);
            device.load(Arena::Parameters, part.param.offset, &data);
        }
        Ok(Self {
            device,
            training: model.training_pass(),
            inference: model.inference_pass(),
            decays: model.layout.decays(),
            batches: (0..shape.batches()).map(|number| new_batch(&config, number)).collect(),
            steps: 0,
            fma_rate,
        })
    }

    /// Tokens of each batch.
    pub fn tokens(&self) -> Vec<usize> {
        self.batches.iter().map(Batch::tokens).collect()
    }

    /// Floating-point operations per second that these threads can do on registers; a fused multiply-add counts as two.
    pub fn fma_rate(&self) -> f64 {
        self.fma_rate
    }

    /// One optimizer step on batch `number` (modulo their number); returns the mean loss in nats.
    ///
    /// # Errors
    /// If the loss is not finite.
    pub fn train(&mut self, number: usize) -> Result<f64, TrainError> {
        let batch = &self.batches[number % self.batches.len()];
        let scalars = Scalars { seed: SEED, step: self.steps as u32, loss_scale: 1.0 / batch.sequences() as f64 };
        self.device.run(&self.training.program, batch, scalars);
        let loss = self.device.read(self.training.losses).iter().sum::<f64>() * scalars.loss_scale;
        self.steps += 1;
        // The values of preset `default` for a base-size encoder, so that the work is that of a real step.
        let adamw = AdamW {
            learning_rate: 2e-5,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.01,
            step: self.steps,
            bias_correction: true,
            gradient_scale: 1.0,
        };
        let clipping =
            Update { adamw, max_gradient_norm: 1.0, max_tensor_norm: 0.0, tensors: &[], decays: &self.decays };
        self.device.update(&clipping);
        let norm = self.device.gradient_norm();
        if loss.is_finite() && norm.is_finite() {
            return Ok(loss);
        }
        Err(TrainError::NotFinite { step: self.steps, found: format!("the loss is {loss}"), norms: vec![norm] })
    }

    /// The logits `[sequences, labels]` of batch `number` (modulo their number), without dropout.
    pub fn infer(&mut self, number: usize) -> Vec<f64> {
        let batch = &self.batches[number % self.batches.len()];
        let scalars = Scalars { seed: SEED, step: 0, loss_scale: 1.0 };
        self.device.run(&self.inference.program, batch, scalars);
        self.device.read(self.inference.logits)
    }

    /// Time by phase since the last call.
    pub fn take_times(&mut self) -> Times {
        self.device.take_times()
    }

    /// f32 lanes per vector of the instruction set in use; 1 without vectors.
    pub fn lanes(&self) -> usize {
        self.device.lanes()
    }
}

/// Batch `number` of the list, in its order, with random ids and labels.
fn new_batch(config: &EncoderConfig, number: usize) -> Batch {
    let lengths = LENGTHS.split_whitespace().map(|word| word.parse().expect("lengths.txt holds numbers"));
    let lengths: Vec<usize> = lengths.skip(number * SEQUENCES_PER_BATCH).take(SEQUENCES_PER_BATCH).collect();
    let below = |stream: u32, sequence: usize, i: usize, bound: u32| {
        // Lengths are far below 65,536, so every token has a counter of its own.
        let index = ((number * SEQUENCES_PER_BATCH + sequence) << 16 | i) as u64;
        (rng::uniform(SEED, stream, index) * f64::from(bound)) as u32
    };
    let ordinary = config.embeddings.vocab_size as u32 - FIRST_ORDINARY_ID;
    let row = |(sequence, length): (usize, &usize)| -> Vec<u32> {
        (0..*length).map(|i| FIRST_ORDINARY_ID + below(IDS, sequence, i, ordinary)).collect()
    };
    let ids: Vec<Vec<u32>> = lengths.iter().enumerate().map(row).collect();
    let labels: Vec<u32> = (0..lengths.len()).map(|sequence| below(GOLD, sequence, 0, LABELS as u32)).collect();
    // No length in lengths.txt is above 128.
    let type_ids = vec![0; 128];
    let sequences: Vec<Sequence<'_>> =
        ids.iter().map(|ids| Sequence { ids, type_ids: &type_ids[..ids.len()] }).collect();
    Batch::pack(&sequences, &labels, config.position_offset(), 0).expect("32 short sequences")
}
