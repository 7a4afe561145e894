//! `config.json` of a BERT or RoBERTa encoder.

use crate::error::ModelError;
use crate::head::Answers;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// The encoder families that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Family {
    Bert,
    Roberta,
}

/// Sizes and settings of an encoder, checked. Names and defaults as `BertConfig` and `RobertaConfig`.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the names are those of config.json")]
pub struct EncoderConfig {
    pub family: Family,
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub intermediate_size: usize,
    pub max_position_embeddings: usize,
    pub type_vocab_size: usize,
    pub layer_norm_eps: f64,
    pub hidden_dropout_prob: f32,
    pub attention_probs_dropout_prob: f32,
    pub classifier_dropout: Option<f32>,
    pub initializer_range: f32,
    pub pad_token_id: u32,
    /// The file as it was, so that a saved model keeps the keys that are not read here.
    pub json: Map<String, Value>,
}

impl Family {
    /// What stands before the encoder's tensor names on disk.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Bert => "bert.",
            Self::Roberta => "roberta.",
        }
    }

    /// The `transformers` class with the head for these answers.
    pub fn architecture(self, answers: Answers) -> &'static str {
        match (self, answers) {
            (Self::Bert, Answers::Classes(_)) => "BertForSequenceClassification",
            (Self::Bert, Answers::Choices(_)) => "BertForMultipleChoice",
            (Self::Roberta, Answers::Classes(_)) => "RobertaForSequenceClassification",
            (Self::Roberta, Answers::Choices(_)) => "RobertaForMultipleChoice",
        }
    }

    /// The `transformers` class of the encoder alone.
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
    /// If it is missing, is no JSON object, or holds a value that no supported encoder can have.
    pub fn read(folder: &Path) -> Result<Self, ModelError> {
        let path = folder.join("config.json");
        let hint = "a model is a Hugging Face folder with config.json, model.safetensors and tokenizer files";
        let bytes = std::fs::read(&path).map_err(|source| ModelError::read(&path, source, hint))?;
        let json = serde_json::from_slice::<Map<String, Value>>(&bytes).map_err(|error| ModelError::Corrupt {
            path: path.clone(),
            found: error.to_string(),
            expected: "a JSON object".into(),
        })?;
        Self::check(Keys { path, json })
    }

    /// Longest sequence, in tokens, that has a position row for each token.
    pub fn usable_positions(&self) -> usize {
        self.max_position_embeddings - self.position_offset() as usize
    }

    /// Position row of a first token: RoBERTa counts from the padding index + 1.
    pub fn position_offset(&self) -> u32 {
        match self.family {
            Family::Bert => 0,
            Family::Roberta => self.pad_token_id + 1,
        }
    }

    fn check(keys: Keys) -> Result<Self, ModelError> {
        let family = match keys.json.get("model_type").and_then(Value::as_str) {
            Some("bert") => Family::Bert,
            Some("roberta") => Family::Roberta,
            _ => return Err(keys.wrong("model_type", "`bert` or `roberta`")),
        };
        let roberta = family == Family::Roberta;
        keys.one_of("hidden_act", "gelu")?;
        keys.one_of("position_embedding_type", "absolute")?;
        if keys.json.get("is_decoder").is_some_and(|v| v != &Value::Bool(false)) {
            return Err(keys.wrong("is_decoder", "false: this is no encoder"));
        }
        let config = Self {
            family,
            vocab_size: keys.size("vocab_size", if roberta { 50265 } else { 30522 })?,
            hidden_size: keys.size("hidden_size", 768)?,
            num_hidden_layers: keys.size("num_hidden_layers", 12)?,
            num_attention_heads: keys.size("num_attention_heads", 12)?,
            intermediate_size: keys.size("intermediate_size", 3072)?,
            max_position_embeddings: keys.size("max_position_embeddings", 512)?,
            type_vocab_size: keys.size("type_vocab_size", 2)?,
            layer_norm_eps: keys.number("layer_norm_eps", 1e-12, 0.0..1.0)?,
            hidden_dropout_prob: keys.number("hidden_dropout_prob", 0.1, 0.0..1.0)? as f32,
            attention_probs_dropout_prob: keys.number("attention_probs_dropout_prob", 0.1, 0.0..1.0)? as f32,
            classifier_dropout: match keys.json.get("classifier_dropout") {
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
        if config.num_attention_heads > 64 {
            return Err(keys.wrong("num_attention_heads", "at most 64"));
        }
        if config.max_position_embeddings <= config.position_offset() as usize {
            return Err(keys.wrong("max_position_embeddings", "more than pad_token_id + 1"));
        }
        Ok(Self { json: keys.json, ..config })
    }
}

/// The keys of one file, read with checks.
struct Keys {
    path: PathBuf,
    json: Map<String, Value>,
}

impl Keys {
    fn size(&self, key: &str, default: usize) -> Result<usize, ModelError> {
        self.whole(key, default, 1)
    }

    fn whole(&self, key: &str, default: usize, least: u64) -> Result<usize, ModelError> {
        const LARGEST: u64 = 100_000_000;
        match self.json.get(key) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => match value.as_u64() {
                Some(n) if (least..=LARGEST).contains(&n) => Ok(n as usize),
                _ => Err(self.wrong(key, &format!("a whole number from {least} to {LARGEST}"))),
            },
        }
    }

    fn number(&self, key: &str, default: f64, range: std::ops::Range<f64>) -> Result<f64, ModelError> {
        match self.json.get(key) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => match value.as_f64() {
                Some(n) if range.contains(&n) => Ok(n),
                _ => Err(self.wrong(key, &format!("a number from {} to below {}", range.start, range.end))),
            },
        }
    }

    fn one_of(&self, key: &str, only: &str) -> Result<(), ModelError> {
        match self.json.get(key) {
            None | Some(Value::Null) => Ok(()),
            Some(value) if value == only => Ok(()),
            Some(_) => Err(self.wrong(key, &format!("`{only}`, the only one supported"))),
        }
    }

    fn wrong(&self, key: &str, expected: &str) -> ModelError {
        let found = self.json.get(key).map_or_else(|| "absent".to_owned(), |value| format!("`{value}`"));
        ModelError::Config { path: self.path.clone(), key: key.into(), found, expected: expected.into() }
    }
}
