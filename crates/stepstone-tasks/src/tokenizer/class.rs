//! The transformers class that reads a folder; it decides what the other files mean.

use super::error::TokenizerError;
use super::json_file::JsonFile;
use serde_json::Value;

/// The encoder family of a folder. It selects the tokenizer class if no file names one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenizerFamily {
    /// WordPiece: `tokenizer.json`, or `vocab.txt`.
    Bert,
    /// Byte-level BPE: `tokenizer.json`, or `vocab.json` and `merges.txt`.
    Roberta,
}

/// How a transformers class builds its tokenizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// WordPiece, with the normalizer of tokenizer_config.json; only the vocabulary of tokenizer.json is used.
    Bert,
    /// Byte-level BPE, built in the same way.
    Roberta,
    /// tokenizer.json, unchanged.
    Whole,
}

/// Class names without `Fast`, how each reads a folder, and whether its models use token type ids.
/// Source: the aliases of `BertTokenizer`, `RobertaTokenizer` and `TokenizersBackend` in transformers 5.24.
const CLASSES: [(&str, Class, bool); 15] = [
    ("BertTokenizer", Class::Bert, true),
    ("DistilBertTokenizer", Class::Bert, false),
    ("ElectraTokenizer", Class::Bert, true),
    ("LayoutLMTokenizer", Class::Bert, true),
    ("LxmertTokenizer", Class::Bert, true),
    ("MobileBertTokenizer", Class::Bert, true),
    ("SqueezeBertTokenizer", Class::Bert, true),
    ("RobertaTokenizer", Class::Roberta, false),
    ("BartTokenizer", Class::Roberta, false),
    ("LEDTokenizer", Class::Roberta, false),
    ("LongformerTokenizer", Class::Roberta, false),
    ("MvpTokenizer", Class::Roberta, false),
    ("PreTrainedTokenizer", Class::Whole, false),
    ("PythonBackend", Class::Whole, false),
    ("TokenizersBackend", Class::Whole, false),
];

/// A class, and whether the tokens of the second text of a pair have type 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) class: Class,
    pub(super) type_ids: bool,
    /// Whether config.json named the class, which makes that key part of the digest.
    pub(super) by_model: bool,
}

impl Kind {
    /// The kind named in `tokenizer_config.json`, else in `config.json`, else the default of the family.
    ///
    /// # Errors
    /// If the class is not supported because it tokenizes differently, such as `BertJapaneseTokenizer`.
    pub(super) fn of(settings: &JsonFile, model: &JsonFile, family: TokenizerFamily) -> Result<Self, TokenizerError> {
        let mut kind = match family {
            TokenizerFamily::Bert => Self { class: Class::Bert, type_ids: true, by_model: false },
            TokenizerFamily::Roberta => Self { class: Class::Roberta, type_ids: false, by_model: false },
        };
        for (file, by_model) in [(settings, false), (model, true)] {
            let Some(name) = file.text(KEY)?.filter(|name| !name.is_empty()) else { continue };
            // Older files name the class with `Fast`; both names mean the same tokens here.
            let plain = name.strip_suffix("Fast").unwrap_or(name);
            let Some((_, class, type_ids)) = CLASSES.iter().find(|(known, ..)| *known == plain) else {
                return Err(file.refuse(
                    KEY,
                    &Value::from(name),
                    "a BertTokenizer, a RobertaTokenizer or a PreTrainedTokenizerFast",
                    "if tokenizer.json holds the complete tokenizer, write `\"tokenizer_class\": \
                     \"PreTrainedTokenizerFast\"` into tokenizer_config.json; transformers then reads the same tokens",
                ));
            };
            kind = Self { class: *class, type_ids: *type_ids, by_model };
            break;
        }
        // This list overrides the class: it says which inputs the model takes.
        if let Some(names) = settings.get("model_input_names") {
            let Some(names) = names.as_array() else {
                return Err(settings.wrong("model_input_names", names, "a list of names"));
            };
            kind.type_ids = names.iter().any(|name| name == "token_type_ids");
        }
        Ok(kind)
    }
}

const KEY: &str = "tokenizer_class";
