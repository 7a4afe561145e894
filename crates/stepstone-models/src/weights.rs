//! Reads the weights of a Hugging Face folder: safetensors in F32, F16 or BF16, in one file or in shards.

use crate::config::{EncoderConfig, MOST_BYTES};
use crate::error::{MODEL_FOLDER, ModelError, ONE_MODEL};
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Component, Path, PathBuf};
use stepstone_files::{Foreign, check_regular, read_at_most};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const BIN: &str = "pytorch_model.bin";

/// Open weights files, and the location of each tensor. Names are canonical: they lack the family prefix, and the old
/// `gamma` and `beta` are `LayerNorm.weight` and `LayerNorm.bias`.
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
    /// Opens the weights of `folder` and checks the sizes in `config` against them.
    ///
    /// # Errors
    /// If there are no weights, if a file is corrupt, if a shard is missing, if a tensor occurs twice, or if the sizes
    /// differ from `config`.
    pub fn open(folder: &Path, config: &EncoderConfig) -> Result<Self, ModelError> {
        let mut weights = Self { files: Vec::new(), tensors: BTreeMap::new(), config_path: folder.join("config.json") };
        for path in weight_files(folder)? {
            weights.add(path, config.family.prefix(), "the index names this shard: copy it into the folder")?;
        }
        weights.check_sizes(config)?;
        Ok(weights)
    }

    /// Adds the tensors of another file, for example those of a head.
    ///
    /// # Errors
    /// As [`Weights::open`].
    pub fn add_file(&mut self, path: &Path, config: &EncoderConfig) -> Result<(), ModelError> {
        self.add(path.into(), config.family.prefix(), "the head of a run is in the same folder as its encoder")
    }

    /// Whether a tensor has this name.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Copies a tensor into `out`, as f32.
    ///
    /// # Errors
    /// If the tensor is missing, has a shape other than `shape` or an unsupported type, or holds a value that is not
    /// finite.
    pub fn read(&self, name: &str, shape: &[usize], out: &mut [f32]) -> Result<(), ModelError> {
        let entry = self.entry(name, shape)?;
        let bytes = &self.files[entry.file].1[entry.data.clone()];
        match entry.dtype {
            Dtype::F32 => convert(bytes, out, f32::from_le_bytes),
            Dtype::F16 => convert(bytes, out, |b| half::f16::from_le_bytes(b).to_f32()),
            Dtype::BF16 => convert(bytes, out, |b| half::bf16::from_le_bytes(b).to_f32()),
            other => return Err(self.wrong_type(entry, other)),
        }
        // One NaN would spread through every later value, far from its cause.
        match out.iter().position(|v| !v.is_finite()) {
            Some(at) => {
                let found = format!("holds {} at element {at}", out[at]);
                let hint = "the training that wrote it diverged, or the file is damaged: use an earlier checkpoint, \
                            or copy the file again";
                Err(self.wrong(entry, found, "finite numbers".into(), hint))
            }
            None => Ok(()),
        }
    }

    fn wrong(&self, entry: &Entry, found: String, expected: String, hint: &str) -> ModelError {
        let (path, tensor) = (self.files[entry.file].0.clone(), entry.on_disk.as_str().into());
        ModelError::Tensor { path, tensor, found, expected, hint: hint.into() }
    }

    fn wrong_type(&self, entry: &Entry, dtype: Dtype) -> ModelError {
        let hint = match dtype {
            Dtype::F64 => "convert the weights once: `model.float().save_pretrained(FOLDER)` in transformers",
            _ => "quantized weights are not supported: use the files that the encoder's authors published",
        };
        self.wrong(entry, format!("is {dtype:?}"), "F32, F16 or BF16".into(), hint)
    }

    /// The tensor of this name, if it has this shape and a supported type. The type is checked first: quantized tensors
    /// can also have other shapes, and the error should name the cause.
    fn entry(&self, name: &str, shape: &[usize]) -> Result<&Entry, ModelError> {
        let Some(entry) = self.tensors.get(name) else {
            let path = self.files.first().map_or_else(|| self.config_path.clone(), |(path, _)| path.clone());
            let (found, expected) = ("is missing".to_owned(), format!("shape {shape:?}"));
            return Err(ModelError::Tensor {
                path,
                tensor: name.into(),
                found,
                expected,
                hint: self.missing_hint(name).into(),
            });
        };
        if !matches!(entry.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
            return Err(self.wrong_type(entry, entry.dtype));
        }
        if entry.shape != shape {
            let (found, expected) = (format!("has shape {:?}", entry.shape), format!("{shape:?}, as config.json says"));
            return Err(self.wrong(entry, found, expected, ONE_MODEL));
        }
        Ok(entry)
    }

    /// The hint for a missing tensor. In larger models, and in models saved from a wrapper such as `DataParallel`,
    /// names have another prefix.
    fn missing_hint(&self, name: &str) -> String {
        match self.tensors.keys().find(|found| found.ends_with(&format!(".{name}"))) {
            Some(found) => {
                format!("the file holds `{found}`: save the encoder alone, so that its names have no prefix")
            }
            None => ONE_MODEL.into(),
        }
    }

    /// Compares each size of the config with the shape of a tensor, before any memory is allocated for a wrong size.
    fn check_sizes(&self, config: &EncoderConfig) -> Result<(), ModelError> {
        let (hidden, layers) = (config.hidden_size, config.num_hidden_layers);
        let last = format!("encoder.layer.{}.intermediate.dense.weight", layers.saturating_sub(1));
        for (name, rows) in [
            ("embeddings.word_embeddings.weight", config.embeddings.vocab_size),
            ("embeddings.position_embeddings.weight", config.embeddings.max_position_embeddings),
            ("embeddings.token_type_embeddings.weight", config.embeddings.type_vocab_size),
            // The last layer stands for all: a config with too many layers fails here, and every tensor is checked when
            // it is read.
            (&last, config.intermediate_size),
        ] {
            self.entry(name, &[rows, hidden])?;
        }
        // A missing last layer fails above; surplus layers would be ignored silently.
        self.check_layers(layers)
    }

    /// Refuses weights with more than `layers` layers.
    fn check_layers(&self, layers: usize) -> Result<(), ModelError> {
        let next = format!("encoder.layer.{layers}.");
        let Some((_, entry)) = self.tensors.iter().find(|(name, _)| name.starts_with(&next)) else {
            return Ok(());
        };
        let expected = format!("layers 0 to {}, as num_hidden_layers in config.json says", layers.saturating_sub(1));
        Err(self.wrong(entry, format!("belongs to layer {layers}"), expected, ONE_MODEL))
    }

    /// blake3 hash of config.json and of each weights file, in this order; 64 hex digits.
    ///
    /// # Errors
    /// If config.json cannot be read.
    pub fn digest(&self) -> Result<String, ModelError> {
        let config = read_at_most(&self.config_path, MOST_BYTES)
            .map_err(|source| ModelError::Read { path: self.config_path.clone(), source })?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&config);
        self.files.iter().for_each(|(_, map)| {
            hasher.update(map);
        });
        Ok(hasher.finalize().to_hex().to_string())
    }

    fn add(&mut self, path: PathBuf, prefix: &str, hint: &str) -> Result<(), ModelError> {
        check_regular(&path).map_err(|source| ModelError::read(&path, source, hint))?;
        let file = File::open(&path).map_err(|source| ModelError::read(&path, source, hint))?;
        // SAFETY: the map is only ever read as bytes, so any content is valid. A file that another process shortens
        // under us would raise SIGBUS, as it does for every user of safetensors; checkpoints are replaced by rename.
        let map = unsafe { Mmap::map(&file) }.map_err(|source| ModelError::Read { path: path.clone(), source })?;
        let parsed = SafeTensors::deserialize(&map).map_err(|error| {
            let found = match error {
                SafeTensorError::MetadataIncompleteBuffer => {
                    format!("{} bytes, not the number that its header gives", map.len())
                }
                SafeTensorError::HeaderTooSmall | SafeTensorError::InvalidHeaderLength => {
                    format!("{} bytes, too few for its header", map.len())
                }
                SafeTensorError::HeaderTooLarge => "its first 8 bytes are not the length of a header".into(),
                other => other.to_string(),
            };
            not_safetensors(&path, &map, found)
        })?;
        // Ranges are kept instead of views, because views would borrow the map that `files` is about to own.
        let mut tensors = Vec::new();
        for (on_disk, view) in parsed.tensors() {
            let start = view.data().as_ptr() as usize - map.as_ptr() as usize;
            tensors.push((on_disk, view.dtype(), view.shape().to_vec(), start..start + view.data().len()));
        }
        for (on_disk, dtype, shape, data) in tensors {
            let name = canonical(&on_disk, prefix);
            let entry = Entry { file: self.files.len(), on_disk, dtype, shape, data };
            if let Some(other) = self.tensors.insert(name.clone(), entry) {
                let found = format!("appears twice, also as `{}`", other.on_disk);
                let hint = "remove the file that does not belong to the model, or save the model again".into();
                return Err(ModelError::Tensor {
                    path,
                    tensor: name.into(),
                    found,
                    expected: "each tensor once".into(),
                    hint,
                });
            }
        }
        self.files.push((path, map));
        Ok(())
    }
}

fn convert<const N: usize>(bytes: &[u8], out: &mut [f32], value: impl Fn([u8; N]) -> f32) {
    // The shape has been checked, so no bytes are left over.
    let (values, _) = bytes.as_chunks::<N>();
    out.iter_mut().zip(values).for_each(|(out, bytes)| *out = value(*bytes));
}

/// Removes the family prefix and renames `gamma` and `beta`, the layer-norm names of the original BERT files.
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

/// The files to read. A single file wins over an index, as in transformers.
fn weight_files(folder: &Path) -> Result<Vec<PathBuf>, ModelError> {
    let (single, index, bin) = (folder.join(SINGLE), folder.join(INDEX), folder.join(BIN));
    if single.exists() {
        return Ok(vec![single]);
    }
    if index.exists() {
        return shards(folder, &index);
    }
    // Pickle files can run code when they are loaded, so they are never read, only explained.
    let hint = if bin.exists() { format!("there is only {BIN}; {}", conversion(&bin)) } else { MODEL_FOLDER.into() };
    Err(ModelError::Missing { path: single, hint })
}

/// The command that converts a file of PyTorch to safetensors.
fn conversion(bin: &Path) -> String {
    format!(
        "convert it once: python -c \"import sys, torch; from safetensors.torch import save_file; \
         save_file({{k: v.clone().contiguous() for k, v in torch.load(sys.argv[1], map_location='cpu', \
         weights_only=True).items()}}, sys.argv[2], {{'format': 'pt'}})\" {} {}",
        bin.display(),
        bin.with_file_name(SINGLE).display()
    )
}

/// The error for a file that is not a complete safetensors file. For a zip or pickle file of PyTorch, the hint says how
/// to rename and convert it.
fn not_safetensors(path: &Path, bytes: &[u8], found: String) -> ModelError {
    let expected = "a complete safetensors file";
    match Foreign::of(bytes) {
        Some(kind @ (Foreign::Zip | Foreign::Pickle)) => ModelError::Corrupt {
            path: path.into(),
            found: format!("{kind}, as PyTorch writes it"),
            expected: expected.into(),
            hint: format!("rename it to {BIN}, then {}", conversion(&path.with_file_name(BIN))),
        },
        _ => ModelError::corrupt(path, bytes, found, expected),
    }
}

fn shards(folder: &Path, index: &Path) -> Result<Vec<PathBuf>, ModelError> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let bytes = read_at_most(index, MOST_BYTES).map_err(|source| ModelError::read(index, source, MODEL_FOLDER))?;
    let corrupt = |found: String, expected: &str| ModelError::corrupt(index, &bytes, found, expected);
    let parsed: Index =
        serde_json::from_slice(&bytes).map_err(|e| corrupt(e.to_string(), "an index with `weight_map`"))?;
    // Sorted, so that the digest does not depend on the order of the index.
    let names: BTreeSet<String> = parsed.weight_map.into_values().collect();
    if names.is_empty() {
        return Err(corrupt("no shard".into(), "at least one"));
    }
    let mut files = Vec::new();
    for name in names {
        // An index is data from elsewhere: a shard such as `../x` must not lead out of the folder.
        if !Path::new(&name).components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(corrupt(format!("shard `{name}`"), "a file inside the folder"));
        }
        files.push(folder.join(name));
    }
    Ok(files)
}
