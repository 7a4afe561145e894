//! Twenty optimizer steps without dropout, against PyTorch in float64: AdamW, and the BertAdam of 2019. The fixtures
//! come from tools/golden/make_trajectory.py and make_bert_adam.py; their `made` field names versions and date.

use safetensors::SafeTensors;
use std::ops::Range;
use stepstone_engine::{AdamW, Arena, Batch, CpuDevice, Device, Scalars, Sequence, Threads, Update};
use stepstone_models::{Answers, Classifier, EncoderConfig, HeadKind, Weights};

#[derive(serde::Deserialize)]
struct Golden {
    learning_rates: Vec<f64>,
    no_weight_decay: Vec<String>,
    batches: Vec<Step>,
}

#[derive(serde::Deserialize)]
struct Step {
    sequences: Vec<Vec<u32>>,
    type_ids: Vec<Vec<u32>>,
    labels: Vec<u32>,
}

impl Step {
    /// The micro-batches of the step, as ranges of examples.
    fn parts(&self, micro_batch: usize) -> impl Iterator<Item = Range<usize>> {
        let count = self.labels.len();
        (0..count).step_by(micro_batch).map(move |start| start..(start + micro_batch).min(count))
    }

    fn pack(&self, part: Range<usize>, offset: u32) -> Batch {
        let rows = self.sequences.iter().zip(&self.type_ids).map(|(ids, type_ids)| Sequence { ids, type_ids });
        let sequences: Vec<Sequence> = rows.collect();
        Batch::pack(&sequences[part.clone()], &self.labels[part.clone()], offset, part.start).expect("packs")
    }
}

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");

/// A recorded trajectory.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Trajectory {
    /// AdamW with clipping at 1, which never takes effect here.
    AdamW,
    /// AdamW, clipped at 0.35.
    AdamWClipped,
    /// BertAdam, clipped at 0.35, and each tensor at 0.1.
    BertAdam,
}

impl Trajectory {
    /// The update of step `step`, counted from 0.
    fn adamw(self, step: usize, learning_rate: f64) -> AdamW {
        let bert_adam = self == Self::BertAdam;
        AdamW {
            learning_rate,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: if bert_adam { 1e-6 } else { 1e-8 },
            weight_decay: 0.01,
            step: step as u64 + 1,
            bias_correction: !bert_adam,
            gradient_scale: 1.0,
        }
    }
}

/// A device that holds the weights of the family's fixture.
fn device(model: &Classifier, config: &EncoderConfig, family: &str) -> CpuDevice {
    let weights = Weights::open(&stepstone_fixtures::encoder(family), config).expect("weights");
    let mut device = CpuDevice::new(model.layout.len, Threads::new(2).expect("threads start"));
    for part in model.layout.parts() {
        let mut data = vec![0.0; part.param.len()];
        weights.read(&part.name, &part.shape, &mut data).expect("tensor");
        device.load(Arena::Parameters, part.param.offset, &data);
    }
    device
}

fn follow(family: &str, trajectory: Trajectory, micro_batch: usize) {
    let (suffix, prefix, max_gradient_norm) = match trajectory {
        Trajectory::AdamW => ("trajectory", "", 1.0),
        Trajectory::AdamWClipped => ("trajectory", "clipped.", 0.35),
        Trajectory::BertAdam => ("bert_adam", "", 0.35),
    };
    let bert_adam = trajectory == Trajectory::BertAdam;
    let file = |name: &str| std::fs::read(format!("{GOLDEN}/{family}_{name}")).expect("a fixture");
    let golden: Golden = serde_json::from_slice(&file("trajectory.json")).expect("json");
    let bytes = file(&format!("{suffix}.safetensors"));
    let tensors = SafeTensors::deserialize(&bytes).expect("tensors");
    let want = |name: &str| -> Vec<f64> {
        let view = tensors.tensor(&format!("{prefix}{name}")).expect(name);
        view.data().as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect()
    };

    let mut config = EncoderConfig::read(&stepstone_fixtures::encoder(family)).expect("config");
    config.dropout.hidden = 0.0; // the golden numbers were made without dropout
    config.dropout.attention = 0.0;
    let model = Classifier::new(&config, HeadKind::Hf, Answers::Classes(3));
    let mut device = device(&model, &config, family);

    let (pass, inference, tensors_of) = (model.training_pass(), model.inference_pass(), model.layout.part_ranges());
    let decays: Vec<bool> = model.layout.decays().into_iter().map(|decays| decays || bert_adam).collect();
    let what = |step: usize| format!("{family} {trajectory:?} micro-batch {micro_batch} step {step}");
    for (step, examples) in golden.batches.iter().enumerate() {
        let parts = examples.parts(micro_batch).map(|part| examples.pack(part, config.position_offset()));
        let scalars = Scalars { seed: 0, step: step as u32, loss_scale: 1.0 / examples.labels.len() as f64 };
        let mut loss = 0.0;
        for batch in parts {
            device.run(&pass.program, &batch, scalars);
            loss += device.read(pass.losses).iter().sum::<f64>() * scalars.loss_scale;
        }
        // Both schedules rise over 2 of 20 steps and fall over the rest.
        let adamw = trajectory.adamw(step, golden.learning_rates[step]);
        let max_tensor_norm = if bert_adam { 0.1 } else { 0.0 };
        device.update(&Update { adamw, max_gradient_norm, max_tensor_norm, tensors: &tensors_of, decays: &decays });
        let (want_loss, want_norm) = (want("losses")[step], want("gradient_norms")[step]);
        assert!((loss - want_loss).abs() <= 1e-4 * want_loss, "{}: loss {loss} and {want_loss}", what(step));
        let norm = device.gradient_norm();
        assert!((norm - want_norm).abs() <= 1e-4 * want_norm, "{}: norm {norm} and {want_norm}", what(step));
    }

    let last = golden.batches.last().expect("20 steps");
    let batch = last.pack(0..last.labels.len(), config.position_offset());
    device.run(&inference.program, &batch, Scalars { seed: 0, step: 0, loss_scale: 1.0 });
    near(&device.read(inference.logits), &want("last_logits"), &what(20));
    compare_parameters(&device, &model, &config, &want);
    for part in model.layout.parts() {
        let decays_here = decays[part.param.offset / stepstone_engine::CHUNK];
        let on_disk = on_disk(&part.name, &config);
        assert_eq!(decays_here, bert_adam || !golden.no_weight_decay.contains(&on_disk), "weight decay of {on_disk}");
    }
}

/// The name of a tensor in a file of the whole model.
fn on_disk(name: &str, config: &EncoderConfig) -> String {
    let prefix = if stepstone_models::is_head_tensor(name) { "" } else { config.family.prefix() };
    format!("{prefix}{name}")
}

fn compare_parameters(device: &CpuDevice, model: &Classifier, config: &EncoderConfig, want: &dyn Fn(&str) -> Vec<f64>) {
    for part in model.layout.parts() {
        // A key bias shifts all scores of a row equally, so its gradient is only rounding error, which Adam scales up.
        if part.name.ends_with("attention.self.key.bias") {
            continue;
        }
        let mut got = vec![0.0f32; part.param.len()];
        device.store(Arena::Parameters, part.param.offset, &mut got);
        let got: Vec<f64> = got.into_iter().map(f64::from).collect();
        let on_disk = on_disk(&part.name, config);
        near(&got, &want(&format!("parameter.{on_disk}")), &on_disk);
    }
}

/// |error| <= 1e-4 of the tensor's largest entry.
fn near(got: &[f64], want: &[f64], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    let scale = want.iter().fold(0.0f64, |a, b| a.max(b.abs()));
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() <= 1e-4 * scale, "{what} element {i}: {g} and {w}, scale {scale}");
    }
}

#[test]
fn twenty_steps_follow_pytorch_with_and_without_clipping() {
    for family in ["bert", "roberta"] {
        follow(family, Trajectory::AdamW, 8);
        follow(family, Trajectory::AdamWClipped, 8);
    }
}

#[test]
fn gradient_accumulation_does_not_change_the_update() {
    // Parts of 3, 3 and 2 of the eight examples, then one example at a time.
    follow("bert", Trajectory::AdamWClipped, 3);
    follow("roberta", Trajectory::AdamW, 1);
}

#[test]
fn twenty_steps_of_bert_adam_follow_the_class_that_the_acl_2020_study_used() {
    follow("bert", Trajectory::BertAdam, 8);
    follow("roberta", Trajectory::BertAdam, 3);
}
