//! What a device does: it holds the arenas and runs programs.

use crate::batch::Batch;
use crate::program::Program;
use crate::scalars::Scalars;
use crate::value::Value;
use std::ops::Range;
use stepstone_kernels::optimizer::AdamW;

/// The parameter-shaped arenas; the same offset names the same parameter in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arena {
    /// Master weights.
    Parameters,
    /// Gradients of the step in progress; zero between steps.
    Gradients,
    /// AdamW's running mean of gradients.
    FirstMoment,
    /// AdamW's running mean of squared gradients.
    SecondMoment,
}

/// One optimizer step over the whole arena.
#[derive(Debug, Clone, Copy)]
pub struct Update<'a> {
    /// AdamW with this step's learning rate; its `gradient_scale` is multiplied by the clip factor.
    pub adamw: AdamW,
    /// Largest global L2 norm of the gradients. Larger ones are scaled down as in `torch.nn.utils.clip_grad_norm_`, by
    /// the factor min(1, max / (norm + 1e-6)); 0 means no clipping.
    pub max_gradient_norm: f32,
    /// Largest L2 norm of one tensor's gradients, applied in the same way after global clipping; 0 means no clipping.
    pub max_tensor_norm: f32,
    /// The elements of each tensor; see [`crate::Layout::part_ranges`].
    pub tensors: &'a [Range<usize>],
    /// Whether weight decay acts, per [`crate::CHUNK`]; see [`crate::Layout::decays`].
    pub decays: &'a [bool],
}

/// A machine that runs programs. Devices own the element width; offsets and lengths count elements.
///
/// Nothing is read back inside a step: `run` and `update` only enqueue; `read`, `store` and `gradient_norm` wait.
pub trait Device {
    /// Copies `data` into an arena from element `offset`.
    fn load(&mut self, arena: Arena, offset: usize, data: &[f32]);

    /// Copies elements of an arena, starting at `offset`, into `out`; waits for enqueued work.
    fn store(&self, arena: Arena, offset: usize, out: &mut [f32]);

    /// Runs every op of `program` in order. Gradients of parameters are added to those already there.
    ///
    /// # Panics
    /// If an id, position, segment or label of the batch lies outside its table: the caller checks those.
    fn run(&mut self, program: &Program, batch: &Batch, scalars: Scalars);

    /// An output value of the last run, row-major; waits for enqueued work.
    ///
    /// # Panics
    /// If `value` is not an output of the last program.
    fn read(&self, value: Value) -> Vec<f64>;

    /// Clips, applies AdamW and leaves the gradients zero. A gradient norm that is not finite leaves everything as it is.
    fn update(&mut self, update: &Update<'_>);

    /// The global L2 norm of the gradients that the last `update` found, before clipping; waits for it.
    fn gradient_norm(&self) -> f64;

    /// Bytes of the largest activation arena so far.
    fn activation_bytes(&self) -> usize;
}

/// The factor by which clipping multiplies gradients.
pub(crate) fn clip_factor(max_gradient_norm: f32, norm: f64) -> f64 {
    // 1e-6 as in PyTorch, so that trajectories can be compared to the last digits.
    if max_gradient_norm == 0.0 { 1.0 } else { (f64::from(max_gradient_norm) / (norm + 1e-6)).min(1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::CpuDevice;
    use crate::layout::CHUNK;
    use crate::reference::ReferenceDevice;
    use crate::testing::{ADAMW, Model, Sketch, Step, sketches};
    use proptest::prelude::*;
    use stepstone_kernels::threads::Threads;

    const SCALARS: Scalars = Scalars { seed: 3, step: 4, loss_scale: 0.5 };
    const ARENAS: [Arena; 4] = [Arena::Parameters, Arena::Gradients, Arena::FirstMoment, Arena::SecondMoment];

    fn cpu(len: usize, threads: usize) -> CpuDevice {
        CpuDevice::new(len, Threads::new(threads).expect("threads start"))
    }

    fn devices(len: usize) -> [Box<dyn Device>; 2] {
        [Box::new(cpu(len, 1)), Box::new(ReferenceDevice::new(len))]
    }

    fn stored(device: &dyn Device, arena: Arena, len: usize) -> Vec<f32> {
        let mut out = vec![f32::NAN; len];
        device.store(arena, 0, &mut out);
        out
    }

    #[test]
    fn what_is_loaded_is_stored_in_its_arena_and_nowhere_else() {
        for mut device in devices(8) {
            for (number, arena) in ARENAS.into_iter().enumerate() {
                device.load(arena, 2 + number, &[1.5, -2.5]);
            }
            for (number, arena) in ARENAS.into_iter().enumerate() {
                let mut want = [0.0; 8];
                want[2 + number..4 + number].copy_from_slice(&[1.5, -2.5]);
                assert_eq!(stored(&*device, arena, 8), want, "{arena:?}");
            }
        }
    }

    #[test]
    fn an_output_is_read_and_another_value_of_the_cpu_is_refused() {
        let sketch = Sketch::chain(2);
        let Model { program, layout, logits } = sketch.inference();
        let mut device = cpu(layout.len, 1);
        device.run(&program, &sketch.batch(), SCALARS);
        assert_eq!(device.read(logits).len(), 3, "one sequence, three classes");
        let hidden = program.ops[0].writes()[0];
        let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| device.read(hidden)));
        assert!(read.is_err(), "the memory of {hidden:?} has been used again");
    }

    #[test]
    fn clipping_scales_down_and_never_up() {
        assert_eq!(clip_factor(0.0, 50.0), 1.0, "0 means no clipping");
        assert_eq!(clip_factor(1.0, 0.5), 1.0);
        assert!((clip_factor(1.0, 4.0) - 0.25).abs() < 1e-6);
    }

    fn update<'a>(tensors: &'a [Range<usize>], decays: &'a [bool]) -> Update<'a> {
        Update { adamw: ADAMW, max_gradient_norm: 0.0, max_tensor_norm: 0.0, tensors, decays }
    }

    /// Loads parameters and gradients of two tensors of one chunk each.
    fn loaded(device: &mut dyn Device) {
        let wave = |step: f32| (0..2 * CHUNK).map(|i| (step * i as f32).sin()).collect::<Vec<f32>>();
        device.load(Arena::Parameters, 0, &wave(0.37));
        device.load(Arena::Gradients, 0, &wave(0.11));
    }

    #[test]
    fn both_devices_make_the_same_update_with_and_without_clipping() {
        let tensors = [0..CHUNK, CHUNK..2 * CHUNK];
        for (max_gradient_norm, max_tensor_norm) in [(0.0, 0.0), (1.0, 0.0), (0.0, 0.5), (3.0, 0.5)] {
            let results = devices(2 * CHUNK).map(|mut device| {
                loaded(&mut *device);
                device.update(&Update { max_gradient_norm, max_tensor_norm, ..update(&tensors, &[true, false]) });
                ARENAS.map(|arena| stored(&*device, arena, 2 * CHUNK)).concat()
            });
            for (i, (cpu, reference)) in results[0].iter().zip(&results[1]).enumerate() {
                // The numbers are below 1 and go through a dozen roundings each.
                assert!((cpu - reference).abs() < 2e-6, "element {i}: {cpu} and {reference}");
            }
        }
    }

    #[test]
    fn weight_decay_acts_on_flagged_chunks_alone() {
        for mut device in devices(2 * CHUNK) {
            device.load(Arena::Parameters, 0, &[1.0; 2 * CHUNK]);
            device.update(&update(&[0..CHUNK, CHUNK..2 * CHUNK], &[true, false]));
            let parameters = stored(&*device, Arena::Parameters, 2 * CHUNK);
            assert!((parameters[0] - (1.0 - 1e-3 * 0.01)).abs() < 1e-7, "{}", parameters[0]);
            assert_eq!(parameters[CHUNK], 1.0);
        }
    }

    #[test]
    fn a_gradient_norm_that_is_not_finite_leaves_everything_as_it_is() {
        for mut device in devices(2 * CHUNK) {
            loaded(&mut *device);
            device.load(Arena::Gradients, 7, &[f32::INFINITY]);
            let before = ARENAS.map(|arena| stored(&*device, arena, 2 * CHUNK));
            device.update(&update(&[0..CHUNK, CHUNK..2 * CHUNK], &[true, true]));
            assert!(!device.gradient_norm().is_finite());
            assert_eq!(ARENAS.map(|arena| stored(&*device, arena, 2 * CHUNK)), before);
        }
    }

    /// Logits and gradients after one run.
    fn results(device: &mut dyn Device, model: &Model, sketch: &Sketch) -> (Vec<f64>, Vec<f32>) {
        device.load(Arena::Parameters, 0, &model.parameters());
        device.run(&model.program, &sketch.batch(), SCALARS);
        (device.read(model.logits), stored(device, Arena::Gradients, model.layout.len))
    }

    fn largest(values: impl Iterator<Item = f64>) -> f64 {
        values.fold(0.0, |a, b| a.max(b.abs()))
    }

    proptest! {
        // Fewer cases than proptest's 256, because each one records and runs whole models.
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Each op alone is accurate to 1e-5 of its largest number (see `gradient_check`). A chain of up to thirty ops,
        /// with layer norms of narrow rows, may lose a factor of 100; a wrong op is off by far more.
        #[test]
        fn the_kernels_follow_the_reference_through_whole_models(sketch in sketches()) {
            let model = sketch.training(0.2);
            let len = model.layout.len;
            let (logits, gradients) = results(&mut cpu(len, 1), &model, &sketch);
            let (want_logits, want_gradients) = results(&mut ReferenceDevice::new(len), &model, &sketch);
            let bound = 1e-3 * (1.0 + largest(want_logits.iter().copied()));
            for (got, want) in logits.iter().zip(&want_logits) {
                prop_assert!((got - want).abs() <= bound, "logits: {got} and {want}");
            }
            let bound = 1e-3 * (1.0 + largest(want_gradients.iter().map(|g| f64::from(*g))));
            for (i, (got, want)) in gradients.iter().zip(&want_gradients).enumerate() {
                prop_assert!(f64::from((got - want).abs()) <= bound, "gradient {i}: {got} and {want}");
            }
        }

        #[test]
        fn threads_never_change_a_bit_of_a_whole_model(sketch in sketches()) {
            let model = sketch.training(0.2);
            let [one, two] = [1, 2].map(|threads| results(&mut cpu(model.layout.len, threads), &model, &sketch));
            prop_assert!(one == two, "one and two threads give different bits");
        }

        /// Without dropout, training only saves more values, so its logits must equal those of inference to the bit.
        #[test]
        fn evaluation_gives_the_logits_of_training_without_dropout(sketch in sketches()) {
            let (training, inference) = (sketch.training(0.0), sketch.inference());
            let len = training.layout.len;
            let logits = [&training, &inference].map(|model| results(&mut cpu(len, 1), model, &sketch).0);
            prop_assert_eq!(&logits[0], &logits[1]);
        }
    }

    #[test]
    fn a_later_run_does_not_see_an_earlier_one() {
        let sketch = Sketch { steps: vec![Step::Norm, Step::Attention, Step::Gelu(5)], ..Sketch::chain(0) };
        let (model, other) = (sketch.training(0.2), Sketch::chain(5));
        let fresh = results(&mut cpu(model.layout.len, 1), &model, &sketch);
        let mut used = cpu(other.training(0.0).layout.len.max(model.layout.len), 1);
        results(&mut used, &other.training(0.0), &other);
        // Gradients accumulate over runs by design, so only they are reset.
        used.load(Arena::Gradients, 0, &vec![0.0; model.layout.len]);
        assert!(results(&mut used, &model, &sketch) == fresh, "results depend on the memory of the last run");
    }
}
