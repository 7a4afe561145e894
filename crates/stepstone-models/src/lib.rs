//! Encoders and heads, recorded on the engine's tape for every device; reading and writing Hugging Face folders.

mod classifier;
mod config;
mod encoder;
mod error;
mod head;
mod random;
mod save;
mod weights;

pub use classifier::{Classifier, InferencePass, TrainingPass};
pub use config::{EmbeddingSizes, EncoderConfig, Family, Rates};
pub use encoder::Encoder;
pub use error::ModelError;
pub use head::{Answers, Head, HeadKind, is_head_tensor};
pub use random::{new_values, write_random_encoder};
pub use save::{Folder, NamedTensor, write_safetensors};
pub use weights::Weights;
