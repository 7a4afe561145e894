//! The check that every op must pass: its analytic gradient equals the slope of its f64 definition, and the CPU kernels
//! agree with that definition, over one list of shapes.
//!
//! A check records one op, or a few, over free inputs x and parameters; the function is f = sum of weights * out. The
//! backward list starts with the weights as the gradient of `out`.

use crate::batch::{Batch, Sequence};
use crate::cpu::CpuDevice;
use crate::device::{Arena, Device};
use crate::layout::{Layout, Param};
use crate::program::Program;
use crate::reference::ReferenceDevice;
use crate::scalars::Scalars;
use crate::tape::Tape;
use crate::value::{Rows, Value};
use stepstone_kernels::philox as rng;
use stepstone_kernels::threads::Threads;

/// Sequence lengths of each batch: no sequence, single tokens, one short sequence, unequal lengths.
pub(crate) const LENGTHS: [&[usize]; 5] = [&[], &[1], &[1, 1, 1], &[7], &[5, 1, 31]];
/// Widths that fill no vector, fill one, and overflow one.
pub(crate) const WIDTHS: [usize; 4] = [1, 7, 31, 37];
/// Entries of every table that [`batch`] reads from.
pub(crate) const ENTRIES: usize = 40;
/// Labels of [`batch`] are below this.
pub(crate) const CLASSES: usize = 3;

// The loss scale is not 1, so that a forgotten factor shows.
const SCALARS: Scalars = Scalars { seed: 5, step: 2, loss_scale: 0.25 };

/// A batch with ids and types spread over their tables.
pub(crate) fn batch(lengths: &[usize]) -> Batch {
    let spread =
        |len: usize, step: usize| (0..len as u32).map(|i| i * step as u32 % ENTRIES as u32).collect::<Vec<_>>();
    let rows: Vec<_> = lengths.iter().map(|len| (spread(*len, 7), spread(*len, 3))).collect();
    let sequences: Vec<Sequence<'_>> = rows.iter().map(|(ids, type_ids)| Sequence { ids, type_ids }).collect();
    let labels: Vec<u32> = (0..lengths.len() as u32).map(|s| (s + 1) % CLASSES as u32).collect();
    Batch::pack(&sequences, &labels, 1, 0).expect("short sequences")
}

/// A forward pass under construction: the tape, its parameters, and its free inputs.
pub(crate) struct Build {
    pub(crate) tape: Tape,
    pub(crate) layout: Layout,
    inputs: Vec<Value>,
}

impl Build {
    /// A value that no op writes.
    pub(crate) fn input(&mut self, rows: Rows, columns: usize) -> Value {
        let value = self.tape.value(rows, columns);
        self.inputs.push(value);
        value
    }

    pub(crate) fn matrix(&mut self, rows: usize, columns: usize) -> Param {
        self.layout.matrix(&[String::new()], rows, columns)
    }

    pub(crate) fn vector(&mut self, len: usize) -> Param {
        self.layout.vector(&[String::new()], len)
    }
}

/// Checks the ops that `record` records, on a batch of sequences of these lengths; `record` returns the output.
pub(crate) fn check(what: &str, lengths: &[usize], record: impl Fn(&mut Build) -> Value) {
    Check::new(lengths, Output::Value, record).run(&format!("{what}, sequences {lengths:?}"));
}

/// Like [`check`], for an output that is the loss: f = loss_scale * sum of the losses.
pub(crate) fn check_loss(what: &str, lengths: &[usize], record: impl Fn(&mut Build) -> Value) {
    Check::new(lengths, Output::Losses, record).run(&format!("{what}, sequences {lengths:?}"));
}

#[derive(Clone, Copy, PartialEq)]
enum Output {
    Value,
    Losses,
}

struct Check {
    batch: Batch,
    layout: Layout,
    out: Value,
    /// The forward list alone; `both` adds the backward list.
    forward: Program,
    both: Program,
    /// Each free input with its data and its gradient.
    inputs: Vec<(Value, Vec<f64>, Value)>,
    parameters: Vec<f32>,
    /// The gradient of `out`; None if `out` is the losses, because a program stores no gradient of them.
    d_out: Option<Value>,
    weights: Vec<f64>,
}

impl Check {
    fn new(lengths: &[usize], output: Output, record: impl Fn(&mut Build) -> Value) -> Self {
        let mut batch = batch(lengths);
        let mut build = Build { tape: Tape::for_training(), layout: Layout::default(), inputs: vec![] };
        let out = record(&mut build);
        let Build { tape, layout, inputs } = build;
        let ([forward, both], gradients) = tape.finish_from(out, output == Output::Losses);
        // An example may span several sequences, so there may be fewer labels than sequences.
        batch.labels.truncate(batch.shape().rows(both.info(out).rows));
        let len = |value: Value| {
            let info = both.info(value);
            info.columns * batch.shape().rows(info.rows)
        };
        let gradient = |value: Value| gradients[value.index()].expect("the output depends on every input");
        let inputs = inputs.iter().map(|x| (*x, random(x.0, len(*x)), gradient(*x))).collect();
        // Inputs use the stream of their number, weights stream 1000 and parameters 2000, so that all are independent.
        let weights = match output {
            Output::Value => random(1000, len(out)),
            Output::Losses => vec![SCALARS.loss_scale; len(out)],
        };
        let parameters = random(2000, layout.len).into_iter().map(|p| p as f32).collect();
        let d_out = gradients[out.index()];
        Self { batch, layout, out, forward, both, inputs, parameters, d_out, weights }
    }

    fn run(&self, what: &str) {
        let [reference, cpu] = [self.on_reference(), self.on_cpu()];
        // Where large terms cancel, their rounding errors remain; the floor allows 16 of them.
        let floor =
            16.0 * f64::from(f32::EPSILON / 2.0) * reference.iter().map(|(_, v)| largest(v)).fold(0.0, f64::max);
        for ((name, want), (_, got)) in reference.iter().zip(&cpu) {
            // The criterion of the golden tests: the error of f32 relative to the largest element of the tensor.
            near(&format!("{what}: {name} on the CPU"), got, want, f64::max(1e-5 * largest(want), floor));
        }
        for (name, got) in &reference[1..] {
            let want = self.slopes(name);
            // Central differences with a step of 1e-5 are off by 1e-11 of f (rounding) and 1e-10 of its third
            // derivative (truncation).
            near(&format!("{what}: {name} against the slope"), got, &want, 1e-8 * f64::max(1.0, largest(&want)));
        }
    }

    /// The output, the gradient of each input, and the gradients of the parameters.
    fn results(&self, device: &dyn Device, gradients: Vec<f64>) -> Vec<(Name, Vec<f64>)> {
        let inputs = self.inputs.iter().enumerate().map(|(i, (.., gradient))| (Name::Input(i), device.read(*gradient)));
        [(Name::Out, device.read(self.out))].into_iter().chain(inputs).chain([(Name::Parameters, gradients)]).collect()
    }

    fn values(&self) -> Vec<(Value, Vec<f64>)> {
        let weights = self.d_out.map(|d_out| (d_out, self.weights.clone()));
        self.inputs.iter().map(|(x, data, _)| (*x, data.clone())).chain(weights).collect()
    }

    fn on_reference(&self) -> Vec<(Name, Vec<f64>)> {
        let mut device = ReferenceDevice::new(self.layout.len);
        device.load(Arena::Parameters, 0, &self.parameters);
        device.run_from(&self.values(), &self.both, &self.batch, SCALARS);
        let gradients = device.arena(Arena::Gradients).to_vec();
        self.results(&device, gradients)
    }

    /// Results of the second of two runs, which would show anything that the first left in memory. One and two threads
    /// must give equal bits.
    fn on_cpu(&self) -> Vec<(Name, Vec<f64>)> {
        let mut results = [1, 2].map(|threads| {
            let mut device = CpuDevice::new(self.layout.len, Threads::new(threads).expect("threads start"));
            device.load(Arena::Parameters, 0, &self.parameters);
            let mut gradients = vec![0.0; self.layout.len];
            for _ in 0..2 {
                // Gradients accumulate over runs, so each run starts from zeros.
                device.load(Arena::Gradients, 0, &vec![0.0; self.layout.len]);
                device.run_from(&self.values(), &self.both, &self.batch, SCALARS);
                device.store(Arena::Gradients, 0, &mut gradients);
            }
            self.results(&device, gradients.into_iter().map(f64::from).collect())
        });
        assert_eq!(results[0], results[1], "one and two threads");
        std::mem::take(&mut results[1])
    }

    /// Central differences of f with respect to every element of an input or of the parameters.
    fn slopes(&self, by: &Name) -> Vec<f64> {
        let mut device = ReferenceDevice::new(self.layout.len);
        device.load(Arena::Parameters, 0, &self.parameters);
        let mut values = self.values();
        let f = |device: &mut ReferenceDevice, values: &[(Value, Vec<f64>)]| -> f64 {
            device.run_from(values, &self.forward, &self.batch, SCALARS);
            device.read(self.out).iter().zip(&self.weights).map(|(out, weight)| out * weight).sum()
        };
        match *by {
            Name::Out => panic!("the output is not a variable"),
            Name::Input(number) => (0..values[number].1.len())
                .map(|i| {
                    slope(values[number].1[i], |at| {
                        values[number].1[i] = at;
                        f(&mut device, &values)
                    })
                })
                .collect(),
            Name::Parameters => {
                let mut slopes = vec![0.0; self.layout.len];
                for i in self.layout.tensors.iter().flat_map(|tensor| tensor.param.range()) {
                    let start = device.arena(Arena::Parameters)[i];
                    slopes[i] = slope(start, |at| {
                        device.arena_mut(Arena::Parameters)[i] = at;
                        f(&mut device, &values)
                    });
                }
                slopes
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Name {
    Out,
    Input(usize),
    Parameters,
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Out => write!(f, "output"),
            Self::Input(number) => write!(f, "gradient of input {number}"),
            Self::Parameters => write!(f, "gradients of the parameters"),
        }
    }
}

/// Central difference quotient at `start`; afterwards the variable is `start` again.
fn slope(start: f64, mut f: impl FnMut(f64) -> f64) -> f64 {
    // Near the cube root of f64's epsilon (6e-6), where rounding and truncation errors balance.
    const H: f64 = 1e-5;
    let difference = f(start + H) - f(start - H);
    f(start);
    difference / (2.0 * H)
}

/// Standard normal numbers that f32 holds exactly, so that both devices start from the same ones.
fn random(stream: u32, len: usize) -> Vec<f64> {
    (0..len as u64).map(|i| f64::from(rng::normal(1, stream, i) as f32)).collect()
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |a, b| a.max(b.abs()))
}

fn near(what: &str, got: &[f64], want: &[f64], bound: f64) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() <= bound, "{what}, element {i}: {got} and {want}, allowed {bound:e}");
    }
}
