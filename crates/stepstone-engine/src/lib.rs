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
mod device;
#[cfg(test)]
mod gradient_check;
mod layout;
pub mod ops;
mod phases;
mod plan;
mod program;
mod reference;
mod tape;

pub use batch::{Batch, PackError, Sequence};
pub use cpu::CpuDevice;
pub use device::{Arena, Device, Scalars, Update};
pub use layout::{CHUNK, Layout, Param, Part, Tensor};
pub use phases::{Phase, Times};
pub use plan::Plan;
pub use program::{BatchShape, Op, Program, Rows, Value, ValueInfo};
pub use reference::ReferenceDevice;
pub use stepstone_kernels::InstructionSet;
pub use stepstone_kernels::optimizer::AdamW;
pub use stepstone_kernels::peak::fma_rate;
pub use stepstone_kernels::philox as rng;
pub use stepstone_kernels::threads::Threads;
pub use tape::{DropoutSite, Site, SiteKind, Tape};
