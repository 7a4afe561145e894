//! Logits, loss and gradients of BERT and RoBERTa with every head, compared with transformers in float64.
//! The fixtures come from tools/golden/make_encoders.py and make_choices.py; their headers name the versions.

use safetensors::SafeTensors;
use stepstone_engine::{Arena, Batch, CpuDevice, Device, ReferenceDevice, Scalars, Sequence, Threads};
use stepstone_models::{Answers, Classifier, EncoderConfig, HeadKind, Weights};

#[derive(serde::Deserialize)]
struct Inputs {
    sequences: Vec<Vec<u32>>,
    type_ids: Vec<Vec<u32>>,
    labels: Vec<u32>,
}

const CLASSES: Answers = Answers::Classes(3);
const CHOICES: Answers = Answers::Choices(3);

struct Golden {
    config: EncoderConfig,
    weights: Weights,
    bytes: Vec<u8>,
    inputs: Inputs,
}

impl Golden {
    fn open(family: &str, answers: Answers) -> Self {
        let folder = stepstone_fixtures::encoder(family);
        let mut config = EncoderConfig::read(&folder).expect("config");
        config.dropout.hidden = 0.0; // the golden numbers were computed without dropout
        config.dropout.attention = 0.0;
        let weights = Weights::open(&folder, &config).expect("weights");
        let (inputs, golden) = match answers {
            Answers::Classes(_) => ("inputs.json", "golden.safetensors"),
            Answers::Choices(_) => ("choices.json", "choices.safetensors"),
        };
        let inputs = std::fs::read(folder.join(inputs)).expect("inputs");
        let bytes = std::fs::read(folder.join(golden)).expect("golden");
        Self { config, weights, bytes, inputs: serde_json::from_slice(&inputs).expect("inputs") }
    }

    fn tensor(&self, name: &str) -> Option<Vec<f64>> {
        let file = SafeTensors::deserialize(&self.bytes).expect("golden");
        let view = file.tensor(name).ok()?;
        Some(view.data().as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect())
    }

    fn batch(&self) -> Batch {
        let sequences: Vec<Sequence> = self
            .inputs
            .sequences
            .iter()
            .zip(&self.inputs.type_ids)
            .map(|(ids, type_ids)| Sequence { ids, type_ids })
            .collect();
        Batch::pack(&sequences, &self.inputs.labels, self.config.position_offset(), 0).expect("packs")
    }

    /// Loads the weights: those of most heads are in the golden file, all others in the folder.
    fn load(&self, model: &Classifier, head: HeadKind, device: &mut dyn Device) {
        for part in model.layout.parts() {
            let own = self.tensor(&format!("{}.head.{}", key(head), part.name));
            let mut data: Vec<f32> = own.iter().flatten().map(|v| *v as f32).collect();
            if own.is_none() {
                data = vec![0.0; part.param.len()];
                self.weights.read(&part.name, &part.shape, &mut data).expect("tensor");
            }
            device.load(Arena::Parameters, part.param.offset, &data);
        }
    }
}

fn key(head: HeadKind) -> &'static str {
    match head {
        HeadKind::Hf => "hf",
        HeadKind::Linear => "linear",
    }
}

/// Asserts `|error| <= tolerance * max(largest entry of the tensor, floor)`.
fn assert_near(got: &[f64], want: &[f64], tolerance: f64, floor: f64, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    let scale = want.iter().fold(floor, |a, b| a.max(b.abs()));
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() <= tolerance * scale, "{what} element {i}: {g} and {w}, scale {scale}");
    }
}

/// Runs one model on `device`; `gradients` reads the gradient arena in the precision of the device.
fn check<D: Device>(case: Case, mut device: D, gradients: fn(&D, usize) -> Vec<f64>, tolerance: f64) {
    let (family, head, answers) = case;
    let (golden, key) = (Golden::open(family, answers), key(head));
    let want = |name: &str| golden.tensor(&format!("{key}.{name}")).unwrap_or_else(|| panic!("{key}.{name}"));
    let model = Classifier::new(&golden.config, head, answers);
    golden.load(&model, head, &mut device);
    let batch = golden.batch();
    let scalars = Scalars { seed: 1, step: 0, loss_scale: 1.0 / batch.labels.len() as f64 };
    let near = |got: &[f64], want: &[f64], what: &str| assert_near(got, want, tolerance, 0.0, what);

    let inference = model.inference_pass();
    device.run(&inference.program, &batch, scalars);
    near(&device.read(inference.logits), &want("logits"), "logits in inference");
    let (program, states) = model.hidden_states_pass();
    device.run(&program, &batch, scalars);
    if let Some(want) = golden.tensor("last_hidden_state") {
        near(&device.read(states), &want, "last hidden states");
    }
    let pass = model.training_pass();
    device.run(&pass.program, &batch, scalars);
    near(&device.read(pass.logits), &want("logits"), "logits in training");
    let losses = device.read(pass.losses);
    near(&[losses.iter().sum::<f64>() / losses.len() as f64], &want("loss"), "loss");

    let arena = gradients(&device, model.layout.len);
    let prefix = golden.config.family.prefix();
    let gradient = |name: &str| {
        let names = [format!("{key}.gradient.{name}"), format!("{key}.gradient.{prefix}{name}")];
        names.iter().find_map(|name| golden.tensor(name)).unwrap_or_else(|| panic!("gradient of {name}"))
    };
    // A floor relative to the whole model: tiny gradients are sums that cancel, and carry no more relative precision.
    let largest = model.layout.parts().flat_map(|p| gradient(&p.name)).fold(0.0f64, |a, b| a.max(b.abs()));
    for part in model.layout.parts() {
        // A vector shifts all choices of a question in the same way, and softmax depends only on differences. So its
        // gradient is a sum of terms that cancel, some of them completely. The f32 gradient of PyTorch itself is off by
        // 8.6e-6 of the largest entry of such a tensor.
        let share = match answers {
            Answers::Choices(_) if part.shape.len() == 1 => 0.1,
            Answers::Classes(_) | Answers::Choices(_) => 1e-3,
        };
        let floor = share * largest;
        assert_near(&arena[part.param.range()], &gradient(&part.name), tolerance, floor, &part.name);
    }
}

type Case = (&'static str, HeadKind, Answers);

fn cases() -> impl Iterator<Item = Case> {
    let heads = [HeadKind::Hf, HeadKind::Linear].map(|head| [(head, CLASSES), (head, CHOICES)]).concat();
    ["bert", "roberta"].into_iter().flat_map(move |family| heads.clone().into_iter().map(move |(h, a)| (family, h, a)))
}

fn arena_len((family, head, answers): Case) -> usize {
    Classifier::new(&Golden::open(family, answers).config, head, answers).layout.len
}

#[test]
fn the_reference_device_equals_transformers_to_a_billionth() {
    for case in cases() {
        let device = ReferenceDevice::new(arena_len(case));
        check(case, device, |device, _| device.arena(Arena::Gradients).to_vec(), 1e-9);
    }
}

#[test]
fn the_cpu_device_equals_transformers_to_f32_precision() {
    for case in cases() {
        for threads in [1, 2] {
            let device = CpuDevice::new(arena_len(case), Threads::new(threads).expect("threads start"));
            let gradients = |device: &CpuDevice, len| {
                let mut arena = vec![0.0f32; len];
                device.store(Arena::Gradients, 0, &mut arena);
                arena.into_iter().map(f64::from).collect()
            };
            check(case, device, gradients, 1e-5);
        }
    }
}

/// With dropout, both devices draw the same masks, so their gradients agree as well.
#[test]
fn the_two_devices_agree_under_dropout_and_packing_order_moves_no_logit() {
    let mut golden = Golden::open("bert", CLASSES);
    golden.config.dropout.hidden = 0.1;
    golden.config.dropout.attention = 0.1;
    let model = Classifier::new(&golden.config, HeadKind::Hf, CLASSES);
    let mut cpu = CpuDevice::new(model.layout.len, Threads::new(2).expect("threads start"));
    let mut reference = ReferenceDevice::new(model.layout.len);
    let (pass, inference) = (model.training_pass(), model.inference_pass());
    let batch = golden.batch();
    let scalars = Scalars { seed: 77, step: 3, loss_scale: 0.2 };
    golden.load(&model, HeadKind::Hf, &mut cpu);
    golden.load(&model, HeadKind::Hf, &mut reference);
    cpu.run(&pass.program, &batch, scalars);
    reference.run(&pass.program, &batch, scalars);
    assert_near(&cpu.read(pass.logits), &reference.read(pass.logits), 1e-5, 0.0, "logits under dropout");
    let mut gradients = vec![0.0f32; model.layout.len];
    cpu.store(Arena::Gradients, 0, &mut gradients);
    let gradients: Vec<f64> = gradients.into_iter().map(f64::from).collect();
    let want = reference.arena(Arena::Gradients);
    let largest = want.iter().fold(0.0f64, |a, b| a.max(b.abs()));
    for part in model.layout.parts() {
        let range = part.param.range();
        assert_near(&gradients[range.clone()], &want[range], 1e-5, 1e-3 * largest, &part.name);
    }

    cpu.run(&inference.program, &batch, scalars);
    let forward = cpu.read(inference.logits);
    golden.inputs.sequences.reverse();
    golden.inputs.type_ids.reverse();
    cpu.run(&inference.program, &golden.batch(), scalars);
    let backward: Vec<f64> = cpu.read(inference.logits).chunks(3).rev().flatten().copied().collect();
    // Equal to the bit: the operations on a sequence do not depend on its place in the batch.
    assert_eq!(forward, backward);
}

#[test]
fn evaluation_needs_the_same_memory_for_two_and_for_twelve_layers() {
    let mut golden = Golden::open("bert", CLASSES);
    let mut bytes = Vec::new();
    // A layer's values are dead once the next layer has run, so their memory is used again.
    for layers in [2, 12] {
        golden.config.num_hidden_layers = layers;
        let model = Classifier::new(&golden.config, HeadKind::Hf, CLASSES);
        let mut device = CpuDevice::new(model.layout.len, Threads::new(1).expect("threads start"));
        device.run(&model.inference_pass().program, &golden.batch(), Scalars { seed: 0, step: 0, loss_scale: 1.0 });
        bytes.push(device.activation_bytes());
    }
    assert_eq!(bytes[0], bytes[1]);
}
