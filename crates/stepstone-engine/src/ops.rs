//! One file per op: its record, what it reads and writes, the backward rule, the f64 definition and the CPU call.
//!
//! T tokens, S sequences, E examples, R rows of any kind, h hidden width. Gradients of parameters always accumulate;
//! each op says whether it overwrites or adds to gradients of values.
//!
//! A new op needs a file here, an entry in the table below and a method of [`crate::Tape`]. Nothing else dispatches on
//! ops.

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
pub use stepstone_kernels::Write;
pub use tanh::{Tanh, TanhBackward};

use crate::gradients::Gradients;
use crate::phases::Phase;
use crate::value::Value;
use crate::{cpu_run, reference_run};

/// The enum of all records, and every match over it.
// A macro, because six matches over seventeen variants would otherwise be six places to change for each new op.
macro_rules! table {
    (forward: $($forward:ident)*; backward: $($backward:ident)*) => {
        /// One op record. The set is closed: a device that implements these ops runs every model.
        #[derive(Debug, Clone, PartialEq)]
        #[expect(missing_docs, reason = "each record is documented in its own file under ops/")]
        pub enum Op {
            $($forward($forward),)*
            $($backward($backward),)*
        }

        $(impl From<$forward> for Op {
            fn from(op: $forward) -> Self {
                Self::$forward(op)
            }
        })*

        $(impl From<$backward> for Op {
            fn from(op: $backward) -> Self {
                Self::$backward(op)
            }
        })*

        impl Op {
            /// Every value whose contents the op needs, including the values that it adds to.
            pub fn reads(&self) -> Vec<Value> {
                match self {
                    $(Self::$forward(op) => op.reads(),)*
                    $(Self::$backward(op) => op.reads(),)*
                }
            }

            /// Every value that the op changes, in a fixed order, in which a memory plan places new values.
            pub fn writes(&self) -> Vec<Value> {
                match self {
                    $(Self::$forward(op) => op.writes(),)*
                    $(Self::$backward(op) => op.writes(),)*
                }
            }

            /// The op that adds this op's share of the gradients; None if the loss does not depend on its output.
            ///
            /// # Panics
            /// If the op itself belongs to a backward list.
            pub(crate) fn backward(&self, gradients: &mut Gradients) -> Option<Self> {
                match self {
                    $(Self::$forward(op) => op.backward(gradients).map(Self::from),)*
                    $(Self::$backward(_) => unreachable!("a tape records forward ops only"),)*
                }
            }

            /// Runs the op's f64 definition.
            pub(crate) fn reference(&self, run: &mut reference_run::Run<'_>) {
                match self {
                    $(Self::$forward(op) => op.reference(run),)*
                    $(Self::$backward(op) => op.reference(run),)*
                }
            }

            /// Runs the op with the CPU kernels.
            pub(crate) fn cpu(&self, run: &mut cpu_run::Run<'_>) {
                match self {
                    $(Self::$forward(op) => op.cpu(run),)*
                    $(Self::$backward(op) => op.cpu(run),)*
                }
            }

            /// The phase to which the op's time since its last lap is charged.
            pub(crate) fn phase(&self) -> Phase {
                match self {
                    $(Self::$forward(_) => $forward::PHASE,)*
                    $(Self::$backward(_) => $backward::PHASE,)*
                }
            }
        }
    };
}

table! {
    forward: Embedding LayerNorm Linear Attention Dropout FirstToken Choices Tanh CrossEntropy;
    backward: EmbeddingBackward LayerNormBackward LinearBackward AttentionBackward FirstTokenBackward ChoicesBackward
        TanhBackward CrossEntropyBackward
}
