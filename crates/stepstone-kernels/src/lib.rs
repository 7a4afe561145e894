//! CPU arithmetic on slices: gemm, attention, norms, losses, optimizer steps.
//!
//! Matrices are row-major. Loops are plain Rust over lane arrays, compiled once per instruction set and chosen at run
//! time (`pulp`). On machines without vectors the `gemm` crate computes matrix products. Every sum has an order that the shape
//! fixes, however work is cut, so results do not depend on the number of threads.

pub mod attention;
pub mod cross_entropy;
pub mod dropout;
pub mod embedding;
mod exp;
pub mod gelu;
pub mod gemm;
pub mod layer_norm;
pub mod optimizer;
pub mod peak;
pub mod philox;
pub mod rows;
mod simd;
pub use simd::InstructionSet;
pub mod tanh;
pub mod threads;
mod tile;
mod transpose;
mod write;
pub use write::Write;

#[cfg(test)]
mod testing;
