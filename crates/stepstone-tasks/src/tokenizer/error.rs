//! Errors of tokenizer folders.

use std::path::PathBuf;

/// An error names the file, what was found, and what was expected.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum TokenizerError {
    #[error("{} has no tokenizer, expected tokenizer.json, vocab.txt, or vocab.json and merges.txt", folder.display())]
    Missing { folder: PathBuf },
    #[error("{}: {found}, expected {expected}", path.display())]
    Corrupt { path: PathBuf, found: String, expected: String },
    #[error("{}: `{key}` is {found}, expected {expected}", path.display())]
    Setting { path: PathBuf, key: String, found: String, expected: String, remedy: String },
    #[error("`max_length` is {max_length}, expected {least} or more: a pair has {special} special tokens", special = least - 1)]
    TooShort { max_length: usize, least: usize },
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
}

impl TokenizerError {
    /// How to fix it, if there is advice to give.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { .. } => Some("copy the tokenizer files of the model into the folder".into()),
            Self::Corrupt { .. } => Some("copy or download the file again and compare its checksum".into()),
            Self::Setting { remedy, .. } => Some(remedy.clone()),
            Self::TooShort { .. } | Self::Read { .. } => None,
        }
    }
}
