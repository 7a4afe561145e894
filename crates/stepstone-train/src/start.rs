//! Where a run's weights come from.

use crate::error::TrainError;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use stepstone_models::Weights;
use stepstone_tasks::TokenizerError;

/// A pretrained encoder, or the encoder of an intermediate run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartPoint {
    /// A Hugging Face folder.
    pub folder: PathBuf,
    /// The run that made the weights; None for a pretrained encoder.
    pub run: Option<String>,
}

impl StartPoint {
    /// A pretrained encoder's folder.
    pub fn encoder(folder: &Path) -> Self {
        Self { folder: folder.into(), run: None }
    }

    /// What the ids of runs that start here depend on: a digest of the files, or the id of the run that makes them,
    /// which identifies the weights just as well and is known before that run has ended.
    pub(crate) fn digest(&self, weights: &Weights) -> Result<String, TrainError> {
        match &self.run {
            None => Ok(weights.digest()?),
            Some(id) => Ok(run_digest(id)),
        }
    }
}

impl StartPoint {
    /// Rewrites an `error` of reading `folder` for the user of the start point: the model of a run cannot be downloaded
    /// again, and the user has not named its folder.
    pub(crate) fn explain(&self, error: TrainError) -> TrainError {
        match (&self.run, error) {
            // The recipe is at fault, not the model.
            (_, error @ TrainError::Tokenizer(TokenizerError::TooShort { .. })) => error,
            (Some(run), error @ (TrainError::Model(_) | TrainError::Tokenizer(_))) => {
                TrainError::Start { run: run.clone(), source: Box::new(error) }
            }
            (_, error) => error,
        }
    }
}

/// Whether `tensor` belongs to a pooler that the start point lacks. Such a tensor gets new values, as in transformers.
pub(crate) fn is_missing_pooler(tensor: &str, weights: &Weights) -> bool {
    tensor.starts_with("pooler.") && !weights.contains(tensor)
}

/// The identity of the encoder that run `id` makes.
// `run:` cannot be confused with a digest of files, which is hexadecimal.
pub(crate) fn run_digest(id: &str) -> String {
    format!("run:{id}")
}
