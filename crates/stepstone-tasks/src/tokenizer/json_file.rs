//! A JSON object in a file, read key by key, with errors that name file, key and value.

use super::error::TokenizerError;
use serde_json::{Map, Value};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use stepstone_files::read_at_most;

/// Published tokenizer files have up to about 40 MB; the limit keeps a wrong file from filling memory.
pub(super) const MOST_BYTES: u64 = 1 << 30;

/// The object in one file, its keys in the order of the file.
#[derive(Debug)]
pub(super) struct JsonFile {
    pub(super) path: PathBuf,
    pub(super) keys: Map<String, Value>,
}

impl JsonFile {
    /// Reads the file `name` of `folder`; a missing file has no keys.
    ///
    /// # Errors
    /// If the file cannot be read or does not hold a JSON object.
    pub(super) fn read(folder: &Path, name: &str) -> Result<Self, TokenizerError> {
        let path = folder.join(name);
        let bytes = match read_at_most(&path, MOST_BYTES) {
            Ok(bytes) => bytes,
            // Every one of these files is optional; which combination is enough is decided later.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self { path, keys: Map::new() }),
            Err(source) => return Err(TokenizerError::Read { path, source }),
        };
        match serde_json::from_slice(&bytes) {
            Ok(keys) => Ok(Self { path, keys }),
            Err(error) => {
                let (found, expected) = (error.to_string(), "a JSON object".into());
                Err(TokenizerError::Corrupt { path, found, expected })
            }
        }
    }

    /// The value of `key`; None if it is absent or null.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.keys.get(key).filter(|value| !value.is_null())
    }

    /// A string; None if it is absent or null.
    ///
    /// # Errors
    /// If the value is not a string.
    pub(super) fn text(&self, key: &str) -> Result<Option<&str>, TokenizerError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(value) => Err(self.wrong(key, value, "a string")),
        }
    }

    /// A boolean; `default` if it is absent. Null is refused, as in transformers.
    ///
    /// # Errors
    /// If the value is not a boolean.
    pub(super) fn flag(&self, key: &str, default: bool) -> Result<bool, TokenizerError> {
        match self.keys.get(key) {
            None => Ok(default),
            Some(Value::Bool(value)) => Ok(*value),
            Some(value) => Err(self.wrong(key, value, "true or false")),
        }
    }

    /// The error for a value of `key` that transformers refuses, too.
    pub(super) fn wrong(&self, key: &str, found: &Value, expected: &str) -> TokenizerError {
        self.refuse(key, found, expected, "correct the file, or copy the one that was published with the model")
    }

    /// The error for a value of `key` that only stepstone refuses; `remedy` says what to do.
    pub(super) fn refuse(&self, key: &str, found: &Value, expected: &str, remedy: &str) -> TokenizerError {
        /// Characters of a value in a message: enough to recognise it. Chat templates and vocabularies fill a terminal.
        const SHOWN: usize = 80;
        let mut found = found.to_string();
        if let Some((end, _)) = found.char_indices().nth(SHOWN) {
            found.truncate(end);
            found.push_str("...");
        }
        TokenizerError::Setting {
            path: self.path.clone(),
            key: key.into(),
            found,
            expected: expected.into(),
            remedy: remedy.into(),
        }
    }
}
