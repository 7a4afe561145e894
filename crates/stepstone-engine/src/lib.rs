//! Tape of fused ops as data, devices that run it, parameter arena, counter RNG.
//!
//! Model code records a forward pass on a [`Tape`]; the tape derives the backward list and becomes a [`Program`]: plain
//! data that can be printed, checked and planned. A [`Device`] holds the arenas (parameters, gradients, moments) and
//! runs programs on packed [`Batch`]es: [`CpuDevice`] in f32, [`ReferenceDevice`] in f64 with plain loops.
//!
//! Two rules hold everywhere. Bits: a result depends on the inputs and the instruction-set path, never on threads or
//! on an earlier step. Randomness: dropout is a function of (seed, step, site, row key, column), see [`Site`].

mod batch;
mod cpu;
mod cpu_run;
mod device;
#[cfg(test)]
mod gradient_check;
mod gradients;
mod layout;
mod memory_plan;
pub mod ops;
mod phases;
mod program;
mod reference;
mod reference_run;
mod scalars;
mod site;
mod tape;
#[cfg(test)]
mod testing;
mod value;

pub use batch::{Batch, PackError, Sequence};
pub use cpu::CpuDevice;
pub use device::{Arena, Device, Update};
pub use layout::{CHUNK, Layout, Param, Part, Tensor};
pub use memory_plan::MemoryPlan;
pub use ops::Op;
pub use phases::{Phase, Times};
pub use program::Program;
pub use reference::ReferenceDevice;
pub use scalars::Scalars;
pub use site::{DropoutSite, Site};
pub use stepstone_kernels::InstructionSet;
pub use stepstone_kernels::optimizer::AdamW;
pub use stepstone_kernels::peak::fma_rate;
pub use stepstone_kernels::philox as rng;
pub use stepstone_kernels::threads::Threads;
pub use tape::Tape;
pub use value::{BatchShape, Rows, Value, ValueInfo};
