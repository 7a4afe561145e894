//! Writing a Hugging Face folder that transformers loads.

use crate::config::EncoderConfig;
use crate::error::ModelError;
use safetensors::tensor::{Dtype, View};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use stepstone_files::write_atomically;

/// A named f32 tensor to be written.
#[derive(Debug, Clone)]
pub struct NamedTensor<'a> {
    /// Full name on disk.
    pub name: String,
    /// Shape.
    pub shape: Vec<usize>,
    /// Row-major values.
    pub data: &'a [f32],
}

impl View for &NamedTensor<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        self.data.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>().into()
    }
    fn data_len(&self) -> usize {
        size_of_val(self.data)
    }
}

/// Writes `tensors` and one pair of metadata to `path` through a temporary file, fsync and rename.
///
/// # Errors
/// If the system refuses a write.
pub fn write_safetensors(
    path: &Path,
    tensors: &[NamedTensor<'_>],
    (key, value): (&str, String),
) -> Result<(), ModelError> {
    let views = tensors.iter().map(|tensor| (tensor.name.as_str(), tensor));
    let metadata = HashMap::from([(key.to_owned(), value)]);
    let write = |temporary: &Path| {
        safetensors::serialize_to_file(views, Some(metadata), temporary).map_err(|error| match error {
            safetensors::SafeTensorError::IoError(source) => source,
            other => io::Error::other(other),
        })
    };
    stepstone_files::replace(path, write).map_err(|source| ModelError::Write { path: path.into(), source })
}

/// What a saved folder holds.
#[derive(Debug)]
pub struct Folder<'a> {
    /// The encoder's config; unknown keys are kept.
    pub config: &'a EncoderConfig,
    /// Class name for `architectures`.
    pub architecture: &'a str,
    /// Labels in class-id order; empty for an encoder alone.
    pub labels: &'a [String],
    /// `model.safetensors`.
    pub tensors: &'a [NamedTensor<'a>],
    /// Copied unchanged.
    pub tokenizer_files: &'a [PathBuf],
}

impl Folder<'_> {
    /// Writes the folder beside `dir` and renames it into place.
    ///
    /// # Errors
    /// If `dir` exists and is not empty, or the system refuses a write.
    pub fn save(&self, dir: &Path) -> Result<(), ModelError> {
        if fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(ModelError::NotEmpty { path: dir.into() });
        }
        let mut name = dir.file_name().unwrap_or_default().to_os_string();
        name.push(".tmp");
        let temporary = dir.with_file_name(name);
        let _ = fs::remove_dir_all(&temporary); // left by an interrupted save
        let failed = |path: &Path, source| ModelError::Write { path: path.into(), source };
        fs::create_dir_all(&temporary).map_err(|source| failed(&temporary, source))?;
        write_safetensors(&temporary.join("model.safetensors"), self.tensors, ("format", "pt".into()))?;
        let config = temporary.join("config.json");
        let text = serde_json::to_string_pretty(&self.json()).map_err(|e| failed(&config, io::Error::other(e)))?;
        write_atomically(&config, text.as_bytes()).map_err(|source| failed(&config, source))?;
        for file in self.tokenizer_files {
            let target = temporary.join(file.file_name().unwrap_or_default());
            fs::copy(file, &target).map_err(|source| failed(&target, source))?;
        }
        let _ = fs::remove_dir(dir); // empty, if it exists: rename wants it away
        fs::rename(&temporary, dir).map_err(|source| failed(dir, source))
    }

    fn json(&self) -> Map<String, Value> {
        let mut json = self.config.json.clone();
        json.insert("architectures".into(), json!([self.architecture]));
        // The tensors are F32 now, whatever the origin's were.
        json.shift_remove("torch_dtype");
        json.insert("dtype".into(), json!("float32"));
        if !self.labels.is_empty() {
            let id2label: Map<String, Value> =
                self.labels.iter().enumerate().map(|(id, label)| (id.to_string(), json!(label))).collect();
            let label2id: Map<String, Value> =
                self.labels.iter().enumerate().map(|(id, label)| (label.clone(), json!(id))).collect();
            json.insert("id2label".into(), id2label.into());
            json.insert("label2id".into(), label2id.into());
            json.insert("problem_type".into(), json!("single_label_classification"));
        }
        json
    }
}
