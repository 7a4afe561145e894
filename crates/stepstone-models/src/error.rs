//! What can be wrong with a Hugging Face folder.

use std::io;
use std::path::{Path, PathBuf};

/// An error names the file, what was found and what was expected.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum ModelError {
    #[error("{} does not exist", path.display())]
    Missing { path: PathBuf, hint: String },
    #[error("{}: {found}, expected {expected}", path.display())]
    Corrupt { path: PathBuf, found: String, expected: String },
    #[error("{}: key `{key}` is {found}, expected {expected}", path.display())]
    Config { path: PathBuf, key: String, found: String, expected: String },
    #[error("{}: tensor `{tensor}` {found}, expected {expected}", path.display())]
    Tensor { path: PathBuf, tensor: String, found: String, expected: String },
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{} is not empty", path.display())]
    NotEmpty { path: PathBuf },
}

impl ModelError {
    /// What to do about it, where there is something to say.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { hint, .. } => Some(hint.clone()),
            Self::Corrupt { .. } => Some("copy or download the file again and compare its checksum".into()),
            Self::Tensor { .. } => Some("config.json and the weights must come from the same model".into()),
            Self::NotEmpty { .. } => Some("name a folder that does not exist yet".into()),
            Self::Config { .. } | Self::Read { .. } | Self::Write { .. } => None,
        }
    }

    /// Reading failed; a missing file gets the hint.
    pub(crate) fn read(path: &Path, source: io::Error, hint: &str) -> Self {
        match source.kind() {
            io::ErrorKind::NotFound => Self::Missing { path: path.into(), hint: hint.into() },
            _ => Self::Read { path: path.into(), source },
        }
    }
}
