//! `config.json` of a BERT or RoBERTa encoder.

use crate::error::{MODEL_FOLDER, ModelError};
use serde_json::{Map, Value};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use stepstone_files::read_at_most;

/// The keys of config.json that describe the encoder. A saved model keeps only these. The others describe an earlier
/// head (`num_labels`, `problem_type`), an earlier file (`torch_dtype`, `quantization_config`) or a program
/// (`auto_map`, `use_cache`), and transformers would still apply them.
const ENCODER_KEYS: [&str; 19] = [
    "model_type",
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "classifier_dropout",
    "max_position_embeddings",
    "position_embedding_type",
    "type_vocab_size",
    "layer_norm_eps",
    "initializer_range",
    "pad_token_id",
    "bos_token_id",
    "eos_token_id",
    // `AutoTokenizer` reads it if tokenizer_config.json names no class.
    "tokenizer_class",
];

/// Published files have a few kilobytes; the limit keeps a wrong file from filling memory.
pub(crate) const MOST_BYTES: u64 = 64 << 20;

/// Common encoder families that are not supported yet, by `model_type`. An error can then name the family.
const UNREAD_FAMILIES: [(&str, &str); 10] = [
    ("albert", "ALBERT"),
    ("camembert", "CamemBERT"),
    ("deberta", "DeBERTa"),
    ("deberta-v2", "DeBERTa"),
    ("distilbert", "DistilBERT"),
    ("electra", "ELECTRA"),
    ("modernbert", "ModernBERT"),
    ("mpnet", "MPNet"),
    ("xlm-roberta", "XLM-RoBERTa"),
    ("xlnet", "XLNet"),
];

/// Supported encoder families.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Family {
    Bert,
    Roberta,
}

/// Rows of the embedding tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of config.json")]
pub struct EmbeddingSizes {
    pub vocab_size: usize,
    pub max_position_embeddings: usize,
    pub type_vocab_size: usize,
}

/// The dropout probabilities of an encoder's own layers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// After embeddings, attention output and feed-forward output: `hidden_dropout_prob`.
    pub hidden: f32,
    /// On attention probabilities: `attention_probs_dropout_prob`.
    pub attention: f32,
}

/// Checked sizes and settings of an encoder. Names and defaults are those of `BertConfig` and `RobertaConfig`.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the names are those of config.json")]
pub struct EncoderConfig {
    pub family: Family,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub intermediate_size: usize,
    pub embeddings: EmbeddingSizes,
    pub layer_norm_eps: f64,
    pub dropout: Rates,
    pub classifier_dropout: Option<f32>,
    pub initializer_range: f32,
    pub pad_token_id: u32,
    /// All keys of the file, unchanged.
    pub json: Map<String, Value>,
}

impl Family {
    /// Prefix of the encoder's tensor names on disk.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Bert => "bert.",
            Self::Roberta => "roberta.",
        }
    }

    /// The `transformers` class of the encoder without a head.
    pub fn encoder_architecture(self) -> &'static str {
        match self {
            Self::Bert => "BertModel",
            Self::Roberta => "RobertaModel",
        }
    }
}

impl EncoderConfig {
    /// Reads `folder/config.json`.
    ///
    /// # Errors
    /// If the folder or the file is missing, if the file is not a JSON object, or if a value fits no supported encoder.
    pub fn read(folder: &Path) -> Result<Self, ModelError> {
        match std::fs::metadata(folder) {
            Ok(found) if !found.is_dir() => return Err(ModelError::not_a_folder(folder)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Err(ModelError::no_folder(folder));
            }
            // Reading the file below reports any other error, with its path.
            Ok(_) | Err(_) => {}
        }
        let path = folder.join("config.json");
        let bytes = read_at_most(&path, MOST_BYTES).map_err(|source| ModelError::read(&path, source, MODEL_FOLDER))?;
        let json = serde_json::from_slice(&bytes)
            .map_err(|error| ModelError::corrupt(&path, &bytes, error.to_string(), "a JSON object"))?;
        Self::check(Keys { path, json })
    }

    /// Reads the keys of a config.json; absent keys get the defaults of `transformers`.
    ///
    /// # Errors
    /// If a value fits no supported encoder.
    pub fn from_json(json: Map<String, Value>) -> Result<Self, ModelError> {
        Self::check(Keys { path: "config.json".into(), json })
    }

    /// The keys of config.json that a saved model keeps, in their order. Keys with the value `null` are left out: they
    /// mean the default, but transformers accepts `null` for few keys.
    pub(crate) fn encoder_keys(&self) -> Map<String, Value> {
        let kept = |(key, value): &(&String, &Value)| ENCODER_KEYS.contains(&key.as_str()) && !value.is_null();
        self.json.iter().filter(kept).map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// Length of the longest sequence with a position embedding for every token.
    pub fn usable_positions(&self) -> usize {
        self.embeddings.max_position_embeddings - self.position_offset() as usize
    }

    /// Position index of the first token. RoBERTa counts from the padding index + 1.
    pub fn position_offset(&self) -> u32 {
        match self.family {
            Family::Bert => 0,
            Family::Roberta => self.pad_token_id + 1,
        }
    }

    fn check(keys: Keys) -> Result<Self, ModelError> {
        let family = keys.family()?;
        let roberta = family == Family::Roberta;
        keys.only_supported()?;
        let config = Self {
            family,
            hidden_size: keys.size("hidden_size", 768)?,
            num_hidden_layers: keys.size("num_hidden_layers", 12)?,
            num_attention_heads: keys.size("num_attention_heads", 12)?,
            intermediate_size: keys.size("intermediate_size", 3072)?,
            embeddings: EmbeddingSizes {
                // The vocabularies of roberta-base and bert-base-uncased, which are the defaults of transformers.
                vocab_size: keys.size("vocab_size", if roberta { 50265 } else { 30522 })?,
                max_position_embeddings: keys.size("max_position_embeddings", 512)?,
                type_vocab_size: keys.size("type_vocab_size", 2)?,
            },
            // The default of transformers for both families; published RoBERTa files set 1e-5 themselves.
            layer_norm_eps: keys.number("layer_norm_eps", 1e-12, 0.0..1.0)?,
            // Dropout multiplies what it keeps by 1 / (1 - p), so 1 itself is refused.
            dropout: Rates {
                hidden: keys.number("hidden_dropout_prob", 0.1, 0.0..1.0)? as f32,
                attention: keys.number("attention_probs_dropout_prob", 0.1, 0.0..1.0)? as f32,
            },
            classifier_dropout: match keys.json.get("classifier_dropout") {
                // As in transformers, null and absent both mean that `hidden_dropout_prob` applies.
                None | Some(Value::Null) => None,
                Some(_) => Some(keys.number("classifier_dropout", 0.0, 0.0..1.0)? as f32),
            },
            initializer_range: keys.number("initializer_range", 0.02, 0.0..10.0)? as f32,
            pad_token_id: keys.whole("pad_token_id", usize::from(roberta), 0)? as u32,
            json: Map::new(),
        };
        if !config.hidden_size.is_multiple_of(config.num_attention_heads) {
            return Err(keys.wrong("num_attention_heads", &format!("a divisor of hidden_size {}", config.hidden_size)));
        }
        // Dropout sites reserve 64 numbers for the heads of a layer; with more, two layers would share masks.
        if config.num_attention_heads > 64 {
            return Err(keys.wrong("num_attention_heads", "at most 64"));
        }
        // Otherwise `usable_positions` would underflow.
        if config.embeddings.max_position_embeddings <= config.position_offset() as usize {
            return Err(keys.wrong("max_position_embeddings", "more than pad_token_id + 1"));
        }
        // The keys move last, because the checks above quote them in their errors.
        Ok(Self { json: keys.json, ..config })
    }
}

/// The keys of one file, with checked access.
struct Keys {
    path: PathBuf,
    json: Map<String, Value>,
}

impl Keys {
    fn family(&self) -> Result<Family, ModelError> {
        match self.json.get("model_type").and_then(Value::as_str) {
            Some("bert") => Ok(Family::Bert),
            Some("roberta") => Ok(Family::Roberta),
            other => {
                let unread = UNREAD_FAMILIES.iter().find(|(model_type, _)| Some(*model_type) == other);
                let hint = match (unread, other) {
                    (Some((_, name)), _) => {
                        format!("{name} encoders are not supported yet; BERT and RoBERTa encoders are")
                    }
                    (None, Some(_)) => "only BERT and RoBERTa encoders are supported so far".into(),
                    (None, None) => {
                        "add `\"model_type\": \"bert\"` or `\"roberta\"`, whichever fits the encoder".into()
                    }
                };
                Err(self.wrong_key("model_type", "`bert` or `roberta`", Some(hint.into())))
            }
        }
    }

    /// Refuses unsupported values of settings that change what an encoder computes.
    fn only_supported(&self) -> Result<(), ModelError> {
        self.one_of("hidden_act", "gelu")?;
        self.one_of("position_embedding_type", "absolute")?;
        // A decoder's weights would load, but its attention is causal, so its states would be wrong.
        if self.json.get("is_decoder").is_some_and(|v| v != &Value::Bool(false)) {
            return Err(self.wrong("is_decoder", "false: decoders are not supported"));
        }
        let pruned = self.json.get("pruned_heads").and_then(Value::as_object);
        if pruned.is_some_and(|layers| !layers.is_empty()) {
            return Err(self.wrong("pruned_heads", "`{}`: encoders with pruned heads are not supported"));
        }
        Ok(())
    }

    fn size(&self, key: &'static str, default: usize) -> Result<usize, ModelError> {
        self.whole(key, default, 1)
    }

    fn whole(&self, key: &'static str, default: usize, least: u64) -> Result<usize, ModelError> {
        // Far above any real size, and small enough that `pad_token_id` fits into u32.
        const LARGEST: u64 = 100_000_000;
        match self.json.get(key) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => match value.as_u64() {
                Some(n) if (least..=LARGEST).contains(&n) => Ok(n as usize),
                _ => Err(self.wrong(key, &format!("a whole number from {least} to {LARGEST}"))),
            },
        }
    }

    fn number(&self, key: &'static str, default: f64, range: std::ops::Range<f64>) -> Result<f64, ModelError> {
        match self.json.get(key) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => match value.as_f64() {
                Some(n) if range.contains(&n) => Ok(n),
                _ => Err(self.wrong(key, &format!("a number from {} to below {}", range.start, range.end))),
            },
        }
    }

    fn one_of(&self, key: &'static str, only: &str) -> Result<(), ModelError> {
        match self.json.get(key) {
            None | Some(Value::Null) => Ok(()),
            Some(value) if value == only => Ok(()),
            Some(_) => Err(self.wrong(key, &format!("`{only}`, the only one supported"))),
        }
    }

    fn wrong(&self, key: &'static str, expected: &str) -> ModelError {
        self.wrong_key(key, expected, None)
    }

    fn wrong_key(&self, key: &'static str, expected: &str, hint: Option<Box<str>>) -> ModelError {
        let found = self.json.get(key).map_or_else(|| "absent".to_owned(), |value| format!("`{value}`"));
        ModelError::Config { path: self.path.clone(), key, found, expected: expected.into(), hint }
    }
}
