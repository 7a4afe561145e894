//! Step server of bench/README.md for stepstone itself: one training step on a batch whenever asked, by the calls that
//! the trainer makes (pack, run forward and backward, clip, AdamW).
//!
//!     cargo build --release -p stepstone-train --example step_server
//!     target/release/examples/step_server S        # or M, B; a second argument is the number of threads (2)

use std::error::Error;
use std::io::{BufRead, Write};
use std::time::Instant;
use stepstone_engine::{AdamW, Arena, Batch, CpuDevice, Device, Scalars, Sequence, Threads, Update, rng};
use stepstone_models::{Answers, Classifier, EncoderConfig, Family, HeadKind, TrainingPass};

/// The same list that peer_step.py reads.
const LENGTHS: &str = include_str!("../../../bench/lengths.txt");
const SEQUENCES_PER_BATCH: usize = 32;
const LABELS: usize = 3;
const WARMUP_STEPS: usize = 3;
/// Ids below this are special tokens in both vocabularies.
const FIRST_ORDINARY_ID: u32 = 5;
const DROPOUT: f32 = 0.1;
const SEED: u64 = 1;
/// Counter streams of what is random here; parameters take one stream each from the last one on.
const IDS: u32 = 1;
const GOLD: u32 = 2;
const PARAMETERS: u32 = 1 << 16;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (shape, threads) = match arguments.as_slice() {
        [shape] => (shape, 2),
        [shape, threads] => (shape, threads.parse()?),
        _ => return Err("usage: step_server S|M|B [THREADS]".into()),
    };
    let (config, batches) = shape_named(shape).ok_or_else(|| format!("shape `{shape}`, expected S, M or B"))?;
    let batches: Vec<Batch> = (0..batches).map(|number| new_batch(&config, number)).collect();
    let mut trainer = Trainer::new(&config, Threads::new(threads)?);
    for batch in &batches[..WARMUP_STEPS] {
        trainer.step(batch)?;
    }
    serve(&mut trainer, &batches)
}

/// The protocol: see bench/README.md.
fn serve(trainer: &mut Trainer, batches: &[Batch]) -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout().lock();
    let tokens: Vec<String> = batches.iter().map(|batch| batch.tokens().to_string()).collect();
    writeln!(out, "ready {}", tokens.join(" "))?;
    for line in std::io::stdin().lock().lines() {
        let number: usize = line?.trim().parse()?;
        let start = Instant::now();
        trainer.step(&batches[number % batches.len()])?;
        writeln!(out, "{:.3}", start.elapsed().as_secs_f64() * 1e3)?;
    }
    writeln!(out, "rss {}", peak_resident_kib()? / 1024)?;
    Ok(())
}

/// An encoder of bench/README.md's table, and how many batches one pass has.
fn shape_named(name: &str) -> Option<(EncoderConfig, usize)> {
    let bert = |layers, hidden, heads| EncoderConfig {
        family: Family::Bert,
        vocab_size: 30_522,
        hidden_size: hidden,
        num_hidden_layers: layers,
        num_attention_heads: heads,
        intermediate_size: 4 * hidden,
        max_position_embeddings: 512,
        type_vocab_size: 2,
        layer_norm_eps: 1e-12,
        hidden_dropout_prob: DROPOUT,
        attention_probs_dropout_prob: DROPOUT,
        classifier_dropout: None,
        initializer_range: 0.02,
        pad_token_id: 0,
        json: serde_json::Map::new(),
    };
    match name {
        "S" => Some((bert(4, 256, 4), 20)),
        "M" => Some((bert(6, 384, 12), 10)),
        "B" => {
            let roberta = EncoderConfig {
                family: Family::Roberta,
                vocab_size: 50_265,
                max_position_embeddings: 514,
                type_vocab_size: 1,
                layer_norm_eps: 1e-5,
                pad_token_id: 1,
                ..bert(12, 768, 12)
            };
            Some((roberta, 4))
        }
        _ => None,
    }
}

/// Batch `number` of the list in its order, with random ids and labels.
fn new_batch(config: &EncoderConfig, number: usize) -> Batch {
    let lengths = LENGTHS.split_whitespace().map(|word| word.parse().expect("lengths.txt holds numbers"));
    let lengths: Vec<usize> = lengths.skip(number * SEQUENCES_PER_BATCH).take(SEQUENCES_PER_BATCH).collect();
    let below = |stream: u32, sequence: usize, i: usize, bound: u32| {
        let index = ((number * SEQUENCES_PER_BATCH + sequence) << 16 | i) as u64;
        (rng::uniform(SEED, stream, index) * f64::from(bound)) as u32
    };
    let ordinary = config.vocab_size as u32 - FIRST_ORDINARY_ID;
    let row = |(sequence, length): (usize, &usize)| -> Vec<u32> {
        (0..*length).map(|i| FIRST_ORDINARY_ID + below(IDS, sequence, i, ordinary)).collect()
    };
    let ids: Vec<Vec<u32>> = lengths.iter().enumerate().map(row).collect();
    let labels: Vec<u32> = (0..lengths.len()).map(|sequence| below(GOLD, sequence, 0, LABELS as u32)).collect();
    let type_ids = vec![0; 128];
    let sequences: Vec<Sequence<'_>> =
        ids.iter().map(|ids| Sequence { ids, type_ids: &type_ids[..ids.len()] }).collect();
    Batch::pack(&sequences, &labels, config.position_offset(), 0).expect("32 short sequences")
}

struct Trainer {
    device: CpuDevice,
    pass: TrainingPass,
    decays: Vec<bool>,
    steps: u64,
}

impl Trainer {
    fn new(config: &EncoderConfig, threads: Threads) -> Trainer {
        let model = Classifier::new(config, HeadKind::Hf, Answers::Classes(LABELS));
        let mut device = CpuDevice::new(model.layout.len, threads);
        for (number, part) in model.layout.parts().enumerate() {
            let stream = PARAMETERS + number as u32;
            let weight = |i: usize| (f64::from(config.initializer_range) * rng::normal(SEED, stream, i as u64)) as f32;
            let gain = part.name.ends_with("LayerNorm.weight");
            let value = |i| {
                if gain {
                    1.0
                } else if part.shape.len() == 1 {
                    0.0
                } else {
                    weight(i)
                }
            };
            let data: Vec<f32> = (0..part.param.len()).map(value).collect();
            device.load(Arena::Parameters, part.param.offset, &data);
        }
        Trainer { device, pass: model.training_pass(), decays: model.layout.decays(), steps: 0 }
    }

    fn step(&mut self, batch: &Batch) -> Result<(), Box<dyn Error>> {
        let scalars = Scalars { seed: SEED, step: self.steps as u32, loss_scale: 1.0 / batch.sequences() as f64 };
        self.device.run(&self.pass.program, batch, scalars);
        let loss: f64 = self.device.read(self.pass.losses).iter().sum();
        self.steps += 1;
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
            return Ok(());
        }
        Err(format!("step {}: loss {loss}, gradient norm {norm}", self.steps).into())
    }
}

/// `VmHWM` of Linux.
fn peak_resident_kib() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next()).ok_or("/proc/self/status has no VmHWM")?;
    Ok(number.parse()?)
}
