//! Weights of a Hugging Face folder: safetensors in F32, F16 or BF16, single or sharded, under canonical names.

use crate::config::EncoderConfig;
use crate::error::ModelError;
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Component, Path, PathBuf};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const BIN: &str = "pytorch_model.bin";

/// Open weights files and where each tensor lies in them. Names are canonical: without the family prefix, with
/// `LayerNorm.weight` and `LayerNorm.bias` for the old `gamma` and `beta`.
#[derive(Debug)]
pub struct Weights {
    files: Vec<(PathBuf, Mmap)>,
    tensors: BTreeMap<String, Entry>,
    config_path: PathBuf,
}

#[derive(Debug)]
struct Entry {
    file: usize,
    on_disk: String,
    dtype: Dtype,
    shape: Vec<usize>,
    data: std::ops::Range<usize>,
}

impl Weights {
    /// Opens the weights of `folder`. After this, every size in `config` is that of a tensor on disk.
    ///
    /// # Errors
    /// If there are none, a file is corrupt, a shard is missing, one tensor stands there twice, or they are those of a
    /// model of other sizes than `config`.
    pub fn open(folder: &Path, config: &EncoderConfig) -> Result<Self, ModelError> {
        let mut weights = Self { files: Vec::new(), tensors: BTreeMap::new(), config_path: folder.join("config.json") };
        for path in weight_files(folder)? {
            weights.add(path, config.family.prefix(), "the index names this shard: copy it into the folder")?;
        }
        weights.check_sizes(config)?;
        Ok(weights)
    }

    /// Adds the tensors of one more file, for example a head's beside its encoder.
    ///
    /// # Errors
    /// As [`Weights::open`].
    pub fn add_file(&mut self, path: &Path, config: &EncoderConfig) -> Result<(), ModelError> {
        self.add(path.into(), config.family.prefix(), "the head of a run lies beside its encoder")
    }

    /// Whether there is a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Shape of a tensor.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|entry| entry.shape.as_slice())
    }

    /// Copies a tensor into `out`, as f32.
    ///
    /// # Errors
    /// If it is missing, has another shape than `shape` or an unsupported type, or holds a value that is not finite.
    pub fn read(&self, name: &str, shape: &[usize], out: &mut [f32]) -> Result<(), ModelError> {
        let entry = self.entry(name, shape)?;
        let wrong = |found: String, expected: String| ModelError::Tensor {
            path: self.files[entry.file].0.clone(),
            tensor: entry.on_disk.clone(),
            found,
            expected,
        };
        let bytes = &self.files[entry.file].1[entry.data.clone()];
        match entry.dtype {
            Dtype::F32 => convert(bytes, out, f32::from_le_bytes),
            Dtype::F16 => convert(bytes, out, |b| half::f16::from_le_bytes(b).to_f32()),
            Dtype::BF16 => convert(bytes, out, |b| half::bf16::from_le_bytes(b).to_f32()),
            other => return Err(wrong(format!("is {other:?}"), "F32, F16 or BF16".into())),
        }
        match out.iter().position(|v| !v.is_finite()) {
            Some(at) => Err(wrong(format!("holds {} at element {at}", out[at]), "finite numbers".into())),
            None => Ok(()),
        }
    }

    /// The tensor of this name, if it has this shape.
    fn entry(&self, name: &str, shape: &[usize]) -> Result<&Entry, ModelError> {
        let Some(entry) = self.tensors.get(name) else {
            let path = self.files.first().map_or_else(|| self.config_path.clone(), |(path, _)| path.clone());
            let found = "is missing".to_owned();
            return Err(ModelError::Tensor { path, tensor: name.into(), found, expected: format!("shape {shape:?}") });
        };
        if entry.shape != shape {
            return Err(ModelError::Tensor {
                path: self.files[entry.file].0.clone(),
                tensor: entry.on_disk.clone(),
                found: format!("has shape {:?}", entry.shape),
                expected: format!("{shape:?} by config.json"),
            });
        }
        Ok(entry)
    }

    /// Compares each size of the config with one tensor that shows it, so that nobody takes memory for a wrong one.
    fn check_sizes(&self, config: &EncoderConfig) -> Result<(), ModelError> {
        let (hidden, layers) = (config.hidden_size, config.num_hidden_layers);
        let last = format!("encoder.layer.{}.intermediate.dense.weight", layers.saturating_sub(1));
        for (name, rows) in [
            ("embeddings.word_embeddings.weight", config.vocab_size),
            ("embeddings.position_embeddings.weight", config.max_position_embeddings),
            ("embeddings.token_type_embeddings.weight", config.type_vocab_size),
            (&last, config.intermediate_size),
        ] {
            self.entry(name, &[rows, hidden])?;
        }
        self.check_layers(layers)
    }

    /// Refuses weights with more than `layers` layers.
    fn check_layers(&self, layers: usize) -> Result<(), ModelError> {
        let next = format!("encoder.layer.{layers}.");
        let Some((tensor, entry)) = self.tensors.iter().find(|(name, _)| name.starts_with(&next)) else {
            return Ok(());
        };
        Err(ModelError::Tensor {
            path: self.files[entry.file].0.clone(),
            tensor: tensor.clone(),
            found: format!("belongs to layer {layers}"),
            expected: format!("layers 0 to {} by num_hidden_layers of config.json", layers.saturating_sub(1)),
        })
    }

    /// blake3 over the bytes of config.json and of each weights file, in order; 64 hex digits.
    ///
    /// # Errors
    /// If config.json cannot be read.
    pub fn digest(&self) -> Result<String, ModelError> {
        let config = std::fs::read(&self.config_path)
            .map_err(|source| ModelError::Read { path: self.config_path.clone(), source })?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&config);
        self.files.iter().for_each(|(_, map)| {
            hasher.update(map);
        });
        Ok(hasher.finalize().to_hex().to_string())
    }

    fn add(&mut self, path: PathBuf, prefix: &str, hint: &str) -> Result<(), ModelError> {
        let file = File::open(&path).map_err(|source| ModelError::read(&path, source, hint))?;
        // SAFETY: the map is only ever read as bytes, so any content is valid. A file that another process shortens
        // under us would raise SIGBUS, as it does for every user of safetensors; checkpoints are replaced by rename.
        let map = unsafe { Mmap::map(&file) }.map_err(|source| ModelError::Read { path: path.clone(), source })?;
        let corrupt = |found: String| ModelError::Corrupt {
            path: path.clone(),
            found,
            expected: "a whole safetensors file".into(),
        };
        let parsed = SafeTensors::deserialize(&map).map_err(|error| match error {
            SafeTensorError::MetadataIncompleteBuffer => {
                corrupt(format!("{} bytes, not as many as its header names", map.len()))
            }
            other => corrupt(other.to_string()),
        })?;
        let mut tensors = Vec::new();
        for (on_disk, view) in parsed.tensors() {
            let start = view.data().as_ptr() as usize - map.as_ptr() as usize;
            tensors.push((on_disk, view.dtype(), view.shape().to_vec(), start..start + view.data().len()));
        }
        for (on_disk, dtype, shape, data) in tensors {
            let name = canonical(&on_disk, prefix);
            let entry = Entry { file: self.files.len(), on_disk, dtype, shape, data };
            if let Some(other) = self.tensors.insert(name.clone(), entry) {
                let found = format!("stands there twice, also as `{}`", other.on_disk);
                return Err(ModelError::Tensor { path, tensor: name, found, expected: "each once".into() });
            }
        }
        self.files.push((path, map));
        Ok(())
    }
}

fn convert<const N: usize>(bytes: &[u8], out: &mut [f32], value: impl Fn([u8; N]) -> f32) {
    let (values, _) = bytes.as_chunks::<N>();
    out.iter_mut().zip(values).for_each(|(out, bytes)| *out = value(*bytes));
}

/// Without the family prefix, and with today's names of layer norms (original BERT files say gamma and beta).
fn canonical(on_disk: &str, prefix: &str) -> String {
    let name = on_disk.strip_prefix(prefix).unwrap_or(on_disk);
    match name.strip_suffix("LayerNorm.gamma") {
        Some(stem) => format!("{stem}LayerNorm.weight"),
        None => match name.strip_suffix("LayerNorm.beta") {
            Some(stem) => format!("{stem}LayerNorm.bias"),
            None => name.to_owned(),
        },
    }
}

fn weight_files(folder: &Path) -> Result<Vec<PathBuf>, ModelError> {
    let (single, index, bin) = (folder.join(SINGLE), folder.join(INDEX), folder.join(BIN));
    if single.exists() {
        return Ok(vec![single]);
    }
    if index.exists() {
        return shards(folder, &index);
    }
    let hint = if bin.exists() {
        format!(
            "there is only {BIN}; convert it once: python -c \"import sys, torch; from safetensors.torch import \
             save_file; d = sys.argv[1]; save_file({{k: v.clone().contiguous() for k, v in \
             torch.load(d + '/{BIN}', map_location='cpu', weights_only=True).items()}}, d + '/{SINGLE}', \
             {{'format': 'pt'}})\" {}",
            folder.display()
        )
    } else {
        "a model is a Hugging Face folder with config.json, model.safetensors and tokenizer files".into()
    };
    Err(ModelError::Missing { path: single, hint })
}

fn shards(folder: &Path, index: &Path) -> Result<Vec<PathBuf>, ModelError> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let corrupt =
        |found: String, expected: &str| ModelError::Corrupt { path: index.into(), found, expected: expected.into() };
    let bytes = std::fs::read(index).map_err(|source| ModelError::Read { path: index.into(), source })?;
    let parsed: Index =
        serde_json::from_slice(&bytes).map_err(|e| corrupt(e.to_string(), "an index with `weight_map`"))?;
    let names: BTreeSet<String> = parsed.weight_map.into_values().collect();
    if names.is_empty() {
        return Err(corrupt("no shard".into(), "at least one"));
    }
    let mut files = Vec::new();
    for name in names {
        if !Path::new(&name).components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(corrupt(format!("shard `{name}`"), "a file inside the folder"));
        }
        files.push(folder.join(name));
    }
    Ok(files)
}
