//! One file per op: its record, shapes, what is saved, the backward rule and the f64 definition.
//!
//! T tokens, S sequences, E examples, R rows of any kind, h hidden width. Gradients of parameters are always added to;
//! gradients of values say whether they are written or added to.

mod attention;
mod choices;
mod cross_entropy;
mod dropout;
mod embedding;
mod first_token;
mod layer_norm;
mod linear;
mod tanh;

pub use attention::{Attention, AttentionBackward, Qkv};
pub use choices::{Choices, ChoicesBackward};
pub use cross_entropy::{CrossEntropy, CrossEntropyBackward};
pub use dropout::Dropout;
pub use embedding::{Embedding, EmbeddingBackward};
pub use first_token::{FirstToken, FirstTokenBackward};
pub use layer_norm::{LayerNorm, LayerNormBackward, NormSaved};
pub use linear::{Activation, Linear, LinearBackward};
pub use tanh::{Tanh, TanhBackward};

pub use crate::tape::Write;
