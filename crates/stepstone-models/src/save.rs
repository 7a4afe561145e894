//! Writes a Hugging Face folder that transformers can load.

use crate::config::EncoderConfig;
use crate::error::ModelError;
use crate::head::{Answers, HeadKind, architecture};
use safetensors::tensor::{Dtype, View};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use stepstone_files::write_atomically;

/// A named f32 tensor to write.
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
        // safetensors is little-endian on every machine, so the values are not written as they lie in memory.
        self.data.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>().into()
    }
    fn data_len(&self) -> usize {
        size_of_val(self.data)
    }
}

/// Writes `tensors` and one metadata entry to `path`, through a temporary file, fsync and rename.
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

/// The contents of a folder to save.
#[derive(Debug)]
pub struct Folder<'a> {
    /// The encoder's config.
    pub config: &'a EncoderConfig,
    /// Which head the model has.
    pub head: HeadKind,
    /// The classes or choices it decides between.
    pub answers: Answers,
    /// Names of the classes in class-id order; not used for choices.
    pub labels: &'a [String],
    /// Contents of `model.safetensors`.
    pub tensors: &'a [NamedTensor<'a>],
    /// Files to copy unchanged.
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
        // Beside `dir`, because a rename cannot cross file systems.
        let temporary = dir.with_file_name(name);
        let _ = fs::remove_dir_all(&temporary); // left by an interrupted save
        let failed = |path: &Path, source| ModelError::Write { path: path.into(), source };
        fs::create_dir_all(&temporary).map_err(|source| failed(&temporary, source))?;
        // Versions of transformers before 5 refuse a file without this entry.
        write_safetensors(&temporary.join("model.safetensors"), self.tensors, ("format", "pt".into()))?;
        let config = temporary.join("config.json");
        let text = serde_json::to_string_pretty(&self.json()).map_err(|e| failed(&config, io::Error::other(e)))?;
        write_atomically(&config, text.as_bytes()).map_err(|source| failed(&config, source))?;
        for file in self.tokenizer_files {
            let target = temporary.join(file.file_name().unwrap_or_default());
            stepstone_files::copy(file, &target).map_err(|source| failed(&target, source))?;
        }
        let _ = fs::remove_dir(dir); // if it exists, it is empty; `rename` need not replace it
        stepstone_files::rename_folder(&temporary, dir).map_err(|source| failed(dir, source))
    }

    /// config.json: the encoder's own keys, and those of this head.
    fn json(&self) -> Map<String, Value> {
        let mut json = self.config.encoder_keys();
        let class = architecture(self.head, self.config.family, self.answers);
        json.insert("architectures".into(), json!([class]));
        // Tensors are always saved as F32, whatever the type of the original file.
        json.insert("dtype".into(), json!("float32"));
        match self.answers {
            Answers::Choices(_) => return json, // one score per choice, so transformers needs no label names
            Answers::Classes(_) => {}
        }
        let ids = || self.labels.iter().enumerate();
        let id2label: Map<String, Value> = ids().map(|(id, label)| (id.to_string(), json!(label))).collect();
        let label2id: Map<String, Value> = ids().map(|(id, label)| (label.clone(), json!(id))).collect();
        json.insert("id2label".into(), id2label.into());
        json.insert("label2id".into(), label2id.into());
        match self.head {
            HeadKind::Hf => {
                json.insert("problem_type".into(), json!("single_label_classification"));
            }
            // The encoder class has no problem type. The label names stay for users who add the head themselves.
            HeadKind::Linear => {}
        }
        json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A config with the keys `before` of an earlier model, for example of a sentiment head.
    fn config(family: &str, before: &Value) -> EncoderConfig {
        let mut json = json!({"model_type": family, "vocab_size": 10, "hidden_size": 4, "num_hidden_layers": 1,
            "num_attention_heads": 2, "intermediate_size": 8, "max_position_embeddings": 6, "hidden_act": "gelu"});
        json.as_object_mut().expect("an object").extend(before.as_object().expect("an object").clone());
        EncoderConfig::from_json(json.as_object().expect("an object").clone()).expect("a possible config")
    }

    fn saved(config: &EncoderConfig, head: HeadKind, answers: Answers) -> Map<String, Value> {
        let labels: Vec<String> = (0..answers.count()).map(|id| format!("label {id}")).collect();
        Folder { config, head, answers, labels: &labels, tensors: &[], tokenizer_files: &[] }.json()
    }

    #[test]
    fn nothing_of_an_earlier_head_file_or_program_stays_in_config_json() {
        let table = [
            json!({}),
            json!({"num_labels": 5, "_num_labels": 5}),
            json!({"id2label": {"0": "a", "1": "b", "2": "c"}, "label2id": {"a": 0, "b": 1, "c": 2}}),
            json!({"problem_type": "regression", "finetuning_task": "stsb", "task_specific_params": {"x": 1}}),
            json!({"problem_type": "multi_label_classification", "architectures": ["BertForMaskedLM"]}),
            json!({"torch_dtype": "float16", "dtype": "bfloat16", "quantization_config": {"bits": 4}}),
            json!({"_name_or_path": "elsewhere", "auto_map": {"AutoModel": "code.Model"}, "custom_pipelines": {}}),
            json!({"is_decoder": false, "add_cross_attention": true, "is_encoder_decoder": true}),
            json!({"return_dict": false, "output_hidden_states": true, "torchscript": true, "pruned_heads": {}}),
            json!({"attn_implementation": "flash_attention_2", "chunk_size_feed_forward": 3, "vocab_size": null}),
        ];
        let heads = [
            (HeadKind::Hf, Answers::Classes(2)),
            (HeadKind::Hf, Answers::Choices(3)),
            (HeadKind::Linear, Answers::Classes(2)),
            (HeadKind::Linear, Answers::Choices(3)),
        ];
        for (head, answers) in heads {
            for family in ["bert", "roberta"] {
                let clean = saved(&config(family, &json!({})), head, answers);
                for before in &table {
                    let mut found = saved(&config(family, before), head, answers);
                    if before.get("vocab_size").is_some() {
                        assert_eq!(found.insert("vocab_size".into(), json!(10)), None, "null stays out");
                    }
                    assert_eq!(found, clean, "{head:?} {answers:?} {family} after {before}");
                }
            }
        }
    }

    #[test]
    fn config_json_says_what_the_head_needs_and_no_more() {
        let names = |head, answers| {
            let json = saved(&config("bert", &json!({"num_labels": 7})), head, answers);
            let of_head = ["architectures", "id2label", "label2id", "problem_type"];
            let found = of_head.into_iter().filter_map(|key| json.get(key).map(Value::to_string));
            found.collect::<Vec<String>>().join(" ")
        };
        let labels = r#"{"0":"label 0","1":"label 1"} {"label 0":0,"label 1":1}"#;
        let table = [
            (
                HeadKind::Hf,
                Answers::Classes(2),
                format!(r#"["BertForSequenceClassification"] {labels} "single_label_classification""#),
            ),
            (HeadKind::Hf, Answers::Choices(2), r#"["BertForMultipleChoice"]"#.into()),
            (HeadKind::Linear, Answers::Classes(2), format!(r#"["BertModel"] {labels}"#)),
            (HeadKind::Linear, Answers::Choices(2), r#"["BertModel"]"#.into()),
        ];
        for (head, answers, want) in table {
            assert_eq!(names(head, answers), want, "{head:?} {answers:?}");
        }
    }

    #[test]
    fn the_encoders_own_keys_stay_as_they_were() {
        let own = json!({"layer_norm_eps": 1e-5, "hidden_dropout_prob": 0.2, "type_vocab_size": 1, "pad_token_id": 1,
            "bos_token_id": 0, "eos_token_id": 2, "tokenizer_class": "BertTokenizer", "classifier_dropout": 0.3,
            "initializer_range": 0.01, "attention_probs_dropout_prob": 0.0, "position_embedding_type": "absolute"});
        let found = saved(&config("roberta", &own), HeadKind::Hf, Answers::Classes(2));
        for (key, value) in own.as_object().expect("an object") {
            assert_eq!(found.get(key), Some(value), "{key}");
        }
    }
}
