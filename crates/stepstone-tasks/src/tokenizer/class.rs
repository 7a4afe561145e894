//! Which class of transformers reads a folder, for the class decides what the other files mean.

use super::error::TokenizerError;
use super::json_file::JsonFile;
use serde_json::Value;

/// The encoder family of a folder, which names its tokenizer class where no file does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenizerFamily {
    /// WordPiece: `tokenizer.json`, or `vocab.txt`.
    Bert,
    /// Byte-level BPE: `tokenizer.json`, or `vocab.json` and `merges.txt`.
    Roberta,
}

/// How a class of transformers makes its tokenizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// WordPiece, with the normalizer of tokenizer_config.json; only the vocabulary of a tokenizer.json counts.
    Bert,
    /// Byte-level BPE, made in the same way.
    Roberta,
    /// tokenizer.json as it is.
    Whole,
}

/// Class names without `Fast`, how each reads a folder, and whether its models see which text a token belongs to.
/// Source: the classes that are, in transformers 5.24, `BertTokenizer`, `RobertaTokenizer` or `TokenizersBackend`
/// under another name.
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

/// A class, and whether the second text of a pair has token type 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) class: Class,
    pub(super) type_ids: bool,
    /// Whether only config.json names the class.
    pub(super) by_model: bool,
}

impl Kind {
    /// The kind that `tokenizer_config.json` names, else `config.json`, else that of the family.
    ///
    /// # Errors
    /// If it is a class whose tokens would be others, such as `BertJapaneseTokenizer`.
    pub(super) fn of(settings: &JsonFile, model: &JsonFile, family: TokenizerFamily) -> Result<Self, TokenizerError> {
        let mut kind = match family {
            TokenizerFamily::Bert => Self { class: Class::Bert, type_ids: true, by_model: false },
            TokenizerFamily::Roberta => Self { class: Class::Roberta, type_ids: false, by_model: false },
        };
        for (file, by_model) in [(settings, false), (model, true)] {
            let Some(name) = file.text(KEY)?.filter(|name| !name.is_empty()) else { continue };
            let plain = name.strip_suffix("Fast").unwrap_or(name);
            let Some((_, class, type_ids)) = CLASSES.iter().find(|(known, ..)| *known == plain) else {
                return Err(file.refuse(
                    KEY,
                    &Value::from(name),
                    "a BertTokenizer, a RobertaTokenizer or a PreTrainedTokenizerFast",
                    "if tokenizer.json holds the whole tokenizer, write `\"tokenizer_class\": \
                     \"PreTrainedTokenizerFast\"` into tokenizer_config.json; transformers then reads the same tokens",
                ));
            };
            kind = Self { class: *class, type_ids: *type_ids, by_model };
            break;
        }
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
