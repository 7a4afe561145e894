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

    /// What enters the id of the runs that start here: a digest of the files, or the id of the run, which says as much
    /// and is known before the run has ended.
    pub(crate) fn digest(&self, weights: &Weights) -> Result<String, TrainError> {
        match &self.run {
            None => Ok(weights.digest()?),
            Some(id) => Ok(run_digest(id)),
        }
    }
}

impl StartPoint {
    /// `error`, which reading `folder` has given, as the user of the start point must see it. The model of a run is not
    /// to be downloaded again, and lies in a folder that the user has not named.
    pub(crate) fn explain(&self, error: TrainError) -> TrainError {
        match (&self.run, error) {
            // The recipe's fault, which leaves the model alone.
            (_, error @ TrainError::Tokenizer(TokenizerError::TooShort { .. })) => error,
            (Some(run), error @ (TrainError::Model(_) | TrainError::Tokenizer(_))) => {
                TrainError::Start { run: run.clone(), source: Box::new(error) }
            }
            (_, error) => error,
        }
    }
}

/// Whether `tensor` belongs to a pooler that the start point lacks: it starts anew, as in transformers.
pub(crate) fn is_missing_pooler(tensor: &str, weights: &Weights) -> bool {
    tensor.starts_with("pooler.") && !weights.contains(tensor)
}

/// The identity of the encoder that run `id` makes.
// `run:` cannot be confused with a digest of files, which is hexadecimal.
pub(crate) fn run_digest(id: &str) -> String {
    format!("run:{id}")
}
