//! The CPU device: f32 kernels over one activation arena, spread over a pool of threads.

use crate::batch::Batch;
use crate::cpu_run::Run;
use crate::device::{Arena, Device, Update, clip_factor};
use crate::memory_plan::MemoryPlan;
use crate::phases::{Phase, Stopwatch, Times};
use crate::program::Program;
use crate::scalars::Scalars;
use crate::value::Value;
use std::ops::Range;
use stepstone_kernels::optimizer;
use stepstone_kernels::threads::Threads;

/// Runs programs in f32 on this machine's cores.
#[derive(Debug)]
pub struct CpuDevice {
    threads: Threads,
    parameters: Vec<f32>,
    gradients: Vec<f32>,
    first_moment: Vec<f32>,
    second_moment: Vec<f32>,
    activations: Vec<f32>,
    /// Ranges of matrix gradients written since the last update. All others are zero, so a product may overwrite them.
    written: Vec<Range<usize>>,
    /// The plan of the last run, and its outputs.
    last: Option<(MemoryPlan, Vec<Value>)>,
    gradient_norm: f64,
    peak_activations: usize,
    stopwatch: Stopwatch,
}

impl CpuDevice {
    /// Arenas of `len` elements, all zero.
    pub fn new(len: usize, threads: Threads) -> Self {
        Self {
            threads,
            parameters: vec![0.0; len],
            gradients: vec![0.0; len],
            first_moment: vec![0.0; len],
            second_moment: vec![0.0; len],
            activations: Vec::new(),
            written: Vec::new(),
            last: None,
            gradient_norm: 0.0,
            peak_activations: 0,
            stopwatch: Stopwatch::new(),
        }
    }

    /// f32 lanes per vector of the instruction set in use; 1 without vectors.
    pub fn lanes(&self) -> usize {
        self.threads.instructions().lanes()
    }

    /// Time by phase of all runs and updates since the last call.
    pub fn take_times(&mut self) -> Times {
        std::mem::take(&mut self.stopwatch.times)
    }

    fn arena(&self, arena: Arena) -> &[f32] {
        match arena {
            Arena::Parameters => &self.parameters,
            Arena::Gradients => &self.gradients,
            Arena::FirstMoment => &self.first_moment,
            Arena::SecondMoment => &self.second_moment,
        }
    }

    fn arena_mut(&mut self, arena: Arena) -> &mut [f32] {
        match arena {
            Arena::Parameters => &mut self.parameters,
            Arena::Gradients => &mut self.gradients,
            Arena::FirstMoment => &mut self.first_moment,
            Arena::SecondMoment => &mut self.second_moment,
        }
    }

    /// Like `run`, but some values are set before the first op. They must be outputs, because other values share
    /// memory.
    pub(crate) fn run_from(
        &mut self,
        inputs: &[(Value, Vec<f64>)],
        program: &Program,
        batch: &Batch,
        scalars: Scalars,
    ) {
        // Planned for every run: batches differ in shape, and planning a few hundred ops is cheap compared with running
        // them.
        let plan = MemoryPlan::new(program, batch.shape());
        // The arena only grows and is never cleared: an op reads only what an earlier op wrote, and fresh pages cost
        // time.
        if self.activations.len() < plan.len {
            self.activations.resize(plan.len, 0.0);
        }
        self.peak_activations = self.peak_activations.max(plan.len);
        for (value, data) in inputs {
            let span = &mut self.activations[plan.span(*value)];
            span.iter_mut().zip(data).for_each(|(to, from)| *to = *from as f32);
        }
        // Everything that an op may need, so that all ops have the same signature.
        let mut run = Run {
            threads: &self.threads,
            parameters: &self.parameters,
            gradients: &mut self.gradients,
            activations: &mut self.activations,
            spans: &plan.spans,
            shapes: &program.values,
            batch,
            scalars,
            written: &mut self.written,
            stopwatch: &mut self.stopwatch,
        };
        // One thread of the pool runs the whole list and hands out the parts of each op; see `Threads::within`.
        // Planning, above, is charged to no phase.
        self.threads.within(|| {
            run.stopwatch.start(run.threads);
            for op in &program.ops {
                op.cpu(&mut run);
                run.stopwatch.lap(run.threads, op.phase());
            }
        });
        // The plan is kept, because only it knows where the outputs lie.
        self.last = Some((plan, program.outputs.clone()));
    }
}

impl Device for CpuDevice {
    fn load(&mut self, arena: Arena, offset: usize, data: &[f32]) {
        // Loaded numbers count as a gradient: the next product must add to them.
        if arena == Arena::Gradients {
            self.written.push(offset..offset + data.len());
        }
        self.arena_mut(arena)[offset..offset + data.len()].copy_from_slice(data);
    }

    fn store(&self, arena: Arena, offset: usize, out: &mut [f32]) {
        out.copy_from_slice(&self.arena(arena)[offset..offset + out.len()]);
    }

    fn run(&mut self, program: &Program, batch: &Batch, scalars: Scalars) {
        self.run_from(&[], program, batch, scalars);
    }

    fn read(&self, value: Value) -> Vec<f64> {
        // Only outputs keep their memory to the end of a program; any other value may have been overwritten.
        let span = self.last.as_ref().filter(|(_, outputs)| outputs.contains(&value)).map(|(plan, _)| plan.span(value));
        let span = span.unwrap_or_else(|| panic!("{value:?} is not an output of the last program"));
        self.activations[span].iter().copied().map(f64::from).collect()
    }

    fn update(&mut self, update: &Update<'_>) {
        self.stopwatch.start(&self.threads);
        self.gradient_norm = optimizer::gradient_norm(&self.threads, &self.gradients);
        if !self.gradient_norm.is_finite() {
            // One such step would make every parameter NaN. The caller reads the norm and decides what to do.
            return;
        }
        let mut adamw = update.adamw;
        let clip = clip_factor(update.max_gradient_norm, self.gradient_norm);
        // AdamW applies the global clip factor while it reads the gradients; only clipping by tensor needs extra
        // passes.
        if update.max_tensor_norm == 0.0 {
            adamw.gradient_scale *= clip as f32;
        } else {
            for tensor in update.tensors {
                let gradients = &mut self.gradients[tensor.clone()];
                // The tensor's norm after global clipping. A norm is proportional to its vector, so one pass can apply
                // both factors.
                let norm = clip * optimizer::gradient_norm(&self.threads, gradients);
                let factor = clip * clip_factor(update.max_tensor_norm, norm);
                optimizer::scale(&self.threads, gradients, factor as f32);
            }
        }
        optimizer::adamw(
            &self.threads,
            &adamw,
            update.decays,
            &mut self.parameters,
            &mut self.gradients,
            &mut self.first_moment,
            &mut self.second_moment,
        );
        // AdamW left the gradients zero, so the next product may overwrite them.
        self.written.clear();
        self.stopwatch.lap(&self.threads, Phase::Optimizer);
    }

    fn gradient_norm(&self) -> f64 {
        self.gradient_norm
    }

    fn activation_bytes(&self) -> usize {
        self.peak_activations * size_of::<f32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradient_check::{CLASSES, ENTRIES, batch};
    use crate::layout::{Layout, Param};
    use crate::tape::Tape;
    use crate::testing::ADAMW;

    const SCALARS: Scalars = Scalars { seed: 1, step: 0, loss_scale: 1.0 };

    struct Classifier {
        program: Program,
        layout: Layout,
        weight: Param,
    }

    fn classifier(hidden: usize) -> Classifier {
        let (mut layout, mut tape) = (Layout::default(), Tape::for_training());
        let tables = ["word", "position", "type"].map(|name| layout.matrix(&[name.into()], ENTRIES, hidden));
        let (weight, bias) = (layout.matrix(&["w".into()], CLASSES, hidden), layout.vector(&["b".into()], CLASSES));
        let x = tape.embedding(tables[0], tables[1], tables[2], None);
        let first = tape.first_token(x);
        let logits = tape.linear(first, weight, bias);
        let losses = tape.cross_entropy(logits);
        Classifier { program: tape.finish_with_backward(losses, &[]), layout, weight }
    }

    fn gradients(device: &CpuDevice, of: Param) -> Vec<f32> {
        let mut out = vec![0.0; of.len()];
        device.store(Arena::Gradients, of.offset, &mut out);
        out
    }

    /// The first gradient of a weight overwrites zeros; a gradient that is already there must be added to.
    #[test]
    fn gradients_are_added_to_those_of_an_earlier_run_and_to_loaded_ones() {
        let Classifier { program, layout, weight } = classifier(37);
        let (batch, parameters) = (batch(&[5, 1, 31]), (0..layout.len).map(|i| (i as f32).sin()).collect::<Vec<_>>());
        let device = || {
            let mut device = CpuDevice::new(layout.len, Threads::new(1).expect("threads start"));
            device.load(Arena::Parameters, 0, &parameters);
            device
        };
        let (mut once, mut twice, mut loaded) = (device(), device(), device());
        once.run(&program, &batch, SCALARS);
        let alone = gradients(&once, weight);
        twice.run(&program, &batch, SCALARS);
        twice.run(&program, &batch, SCALARS);
        loaded.load(Arena::Gradients, weight.slice(1, 1).offset, &vec![1.0; weight.columns]);
        loaded.run(&program, &batch, SCALARS);
        for (i, alone) in alone.iter().enumerate() {
            let row = i / weight.columns;
            let [twice, loaded] = [&twice, &loaded].map(|device| gradients(device, weight)[i]);
            assert!((twice - 2.0 * alone).abs() < 1e-6, "element {i}: {twice} and twice {alone}");
            let there = if row == 1 { 1.0 } else { 0.0 };
            assert!((loaded - there - alone).abs() < 1e-6, "element {i}: {loaded}, {alone} and {there}");
        }
        let tensors = layout.part_ranges();
        let update = Update {
            adamw: ADAMW,
            max_gradient_norm: 0.0,
            max_tensor_norm: 0.0,
            tensors: &tensors,
            decays: &layout.decays(),
        };
        twice.update(&update);
        assert!(gradients(&twice, weight).iter().all(|g| *g == 0.0), "an update leaves zeros");
        twice.load(Arena::Parameters, 0, &parameters);
        twice.run(&program, &batch, SCALARS);
        assert_eq!(gradients(&twice, weight), alone, "the first run after an update starts from zeros");
    }

    #[test]
    fn a_tensor_is_clipped_by_what_the_global_clip_has_left_of_its_norm() {
        let mut layout = Layout::default();
        let [a, b] = ["a", "b"].map(|name| layout.vector(&[name.into()], 2));
        let mut device = CpuDevice::new(layout.len, Threads::new(1).expect("threads start"));
        device.load(Arena::Gradients, a.offset, &[6.0, 0.0]);
        device.load(Arena::Gradients, b.offset, &[0.0, 8.0]);
        device.update(&Update {
            adamw: ADAMW,
            max_gradient_norm: 5.0,
            max_tensor_norm: 3.5,
            tensors: &layout.part_ranges(),
            decays: &layout.decays(),
        });
        // The global norm is 10: halved, a has norm 3 and b norm 4, of which 3.5 stay. The first moment takes a tenth.
        for (param, want) in [(a, [0.3, 0.0]), (b, [0.0, 0.35])] {
            let mut moment = [f32::NAN; 2];
            device.store(Arena::FirstMoment, param.offset, &mut moment);
            let close = moment.iter().zip(want).all(|(got, want): (&f32, f32)| (got - want).abs() < 1e-6);
            assert!(close, "{moment:?}, want {want:?}");
        }
    }
}
