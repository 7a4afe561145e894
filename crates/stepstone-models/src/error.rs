//! Errors of Hugging Face folders.

use std::io;
use std::path::{Path, PathBuf};
use stepstone_files::Foreign;

/// The hint that says what a model folder contains.
pub(crate) const MODEL_FOLDER: &str =
    "a model is a Hugging Face folder with config.json, model.safetensors and tokenizer files";
/// The hint for weights that do not match the config.
pub(crate) const ONE_MODEL: &str = "config.json and the weights must come from the same model";

/// An error names the file, what was found and what was expected; its hint says what to do.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum ModelError {
    #[error("{} does not exist", path.display())]
    Missing { path: PathBuf, hint: String },
    #[error("{}: {found}, expected {expected}", path.display())]
    Corrupt { path: PathBuf, found: String, expected: String, hint: String },
    #[error("{}: key `{key}` is {found}, expected {expected}", path.display())]
    Config { path: PathBuf, key: &'static str, found: String, expected: String, hint: Option<Box<str>> },
    #[error("{}: tensor `{tensor}` {found}, expected {expected}", path.display())]
    Tensor { path: PathBuf, tensor: Box<str>, found: String, expected: String, hint: Box<str> },
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{} is not empty", path.display())]
    NotEmpty { path: PathBuf },
}

impl ModelError {
    /// How to fix it, if there is advice to give.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { hint, .. } | Self::Corrupt { hint, .. } => Some(hint.clone()),
            Self::Tensor { hint, .. } => Some(hint.to_string()),
            Self::Config { hint, .. } => hint.as_deref().map(String::from),
            Self::NotEmpty { .. } => Some("name a folder that does not exist yet".into()),
            Self::Read { .. } | Self::Write { .. } => None,
        }
    }

    /// The error for a failed read. Only a missing file gets the hint.
    pub(crate) fn read(path: &Path, source: io::Error, hint: &str) -> Self {
        match source.kind() {
            io::ErrorKind::NotFound => Self::Missing { path: path.into(), hint: hint.into() },
            io::ErrorKind::InvalidInput | io::ErrorKind::FileTooLarge => Self::Corrupt {
                path: path.into(),
                found: source.to_string(),
                expected: "a file of a model".into(),
                hint: hint.into(),
            },
            _ => Self::Read { path: path.into(), source },
        }
    }

    /// The error for a file whose bytes are not what they should be. If they belong to a known other kind of file, the
    /// error names that kind; otherwise `found` describes the damage.
    pub(crate) fn corrupt(path: &Path, bytes: &[u8], found: String, expected: &str) -> Self {
        let again = "copy or download the file again and compare its checksum";
        let (found, hint) = match Foreign::of(bytes) {
            // An empty file shows no kind, and its parser's message would not say that it is empty.
            _ if bytes.is_empty() => ("an empty file".into(), again),
            Some(kind @ (Foreign::GitLfsPointer | Foreign::Html | Foreign::Xml | Foreign::Zip | Foreign::Pickle)) => {
                (kind.to_string(), kind.remedy().unwrap_or(again))
            }
            Some(Foreign::Utf16 | Foreign::Parquet | Foreign::Bzip2 | Foreign::Xz) | None => (found, again),
        };
        Self::Corrupt { path: path.into(), found, expected: expected.into(), hint: hint.into() }
    }

    /// The error for a folder that does not exist. If the name could be one of the hub, the hint says that nothing is
    /// downloaded.
    pub(crate) fn no_folder(path: &Path) -> Self {
        let place = match std::path::absolute(path) {
            Ok(absolute) if path.is_relative() => format!("looked at {}; ", absolute.display()),
            Ok(_) | Err(_) => String::new(),
        };
        // Names on the hub are `NAME` or `OWNER/NAME`; a leading `.` is a path.
        let hub_name = path.is_relative() && path.components().count() <= 2 && !path.starts_with(".");
        let hub = if hub_name { "models are not downloaded from the hub: download it first; " } else { "" };
        Self::Missing { path: path.into(), hint: format!("{place}{hub}{MODEL_FOLDER}") }
    }

    pub(crate) fn not_a_folder(path: &Path) -> Self {
        let (found, expected) = ("is a file".into(), "the folder of a model".into());
        Self::Corrupt { path: path.into(), found, expected, hint: MODEL_FOLDER.into() }
    }
}
