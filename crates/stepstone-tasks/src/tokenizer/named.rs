//! Merges the special and added tokens of four files into one list.
//!
//! Every step has the order of `PreTrainedTokenizerBase._from_pretrained` and of the constructors of transformers 5.24.
//! The order decides which file wins, and which id a token gets if the vocabulary lacks it.

use super::class::Class;
use super::error::TokenizerError;
use super::json_file::JsonFile;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use tokenizers::AddedToken;

/// Names of special tokens in the order in which transformers adds them.
const STANDARD: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// Keys of lists of unnamed special tokens, newer key first.
const EXTRA: [&str; 2] = ["extra_special_tokens", "additional_special_tokens"];

/// The files that name tokens. A missing file has no keys.
#[derive(Debug)]
pub(super) struct TokenFiles {
    /// tokenizer_config.json
    pub(super) settings: JsonFile,
    /// special_tokens_map.json
    pub(super) special: JsonFile,
    /// added_tokens.json
    pub(super) added: JsonFile,
    /// tokenizer.json
    pub(super) whole: JsonFile,
}

/// Special and added tokens of a tokenizer.
#[derive(Debug, Default)]
pub(super) struct NamedTokens {
    /// Special tokens by name; None if a file says null. Standard names first, in their order.
    named: Vec<(String, Option<AddedToken>)>,
    /// Special tokens with model-specific names; they come after all others.
    own: Vec<(String, Option<AddedToken>)>,
    /// Special tokens without a name.
    extra: Vec<AddedToken>,
    /// Tokens to which a file gives an id, by that id.
    numbered: BTreeMap<u64, AddedToken>,
}

/// An added token as written in a file. Other fields are ignored, as in the `tokenizers` package.
#[derive(Debug, Deserialize)]
struct Written {
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    normalized: Option<bool>,
    special: Option<bool>,
    id: Option<u64>,
}

impl Written {
    fn token(self, special: Option<bool>) -> AddedToken {
        let special = special.or(self.special).unwrap_or(false);
        AddedToken::from(self.content, special)
            .single_word(self.single_word)
            .lstrip(self.lstrip)
            .rstrip(self.rstrip)
            // Special tokens match the raw text by default, so that lower-casing does not hide `[SEP]`.
            .normalized(self.normalized.unwrap_or(!special))
    }
}

impl NamedTokens {
    /// Merges the files for a tokenizer of `class`.
    ///
    /// # Errors
    /// If a file names a token in a form that transformers does not read.
    pub(super) fn read(files: &TokenFiles, class: Class) -> Result<Self, TokenizerError> {
        let mut tokens = Self::default();
        tokens.add_settings(&files.settings)?;
        if files.settings.keys.contains_key("added_tokens_decoder") {
            tokens.add_decoder(&files.settings)?;
        } else {
            // A newer tokenizer_config.json lists all added tokens; the three older files count only without that list.
            tokens.add_map(&files.special)?;
            tokens.add_encoder(files)?;
            tokens.add_whole(&files.whole)?;
            tokens.add_old_extra(&files.special, &files.settings)?;
        }
        tokens.take_flags();
        for (name, content) in defaults(class) {
            if tokens.of_name(name).is_none() {
                tokens.name(name, Some(AddedToken::from(*content, true)));
            }
        }
        // Model-specific names come last, so a default does not replace one of them.
        for (name, token) in std::mem::take(&mut tokens.own) {
            tokens.name(&name, token);
        }
        let place = |name: &str| STANDARD.iter().position(|known| *known == name).unwrap_or(STANDARD.len());
        tokens.named.sort_by_key(|(name, _)| place(name));
        Ok(tokens)
    }

    /// The special token of a standard name; None if no file names it or one says null.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.of_name(name)?.as_ref().map(|token| token.content.as_str())
    }

    /// Whether a file gives the token an id.
    pub(super) fn has_number(&self, content: &str) -> bool {
        self.numbered.values().any(|token| token.content == content)
    }

    /// The tokens to add to a tokenizer whose added tokens are `known`, in order.
    pub(super) fn to_add(&self, known: &HashSet<String>) -> Vec<AddedToken> {
        let mut tokens: Vec<AddedToken> = self.numbered.values().cloned().collect();
        let listed: HashSet<String> =
            tokens.iter().map(|token| token.content.clone()).chain(known.iter().cloned()).collect();
        let named = || self.named.iter().filter_map(|(_, token)| token.as_ref());
        // Tokens with an id come first: the crate numbers added tokens in order, so their ids must be taken already.
        for token in named().chain(&self.extra) {
            if !listed.contains(&token.content) && !tokens.contains(token) {
                tokens.push(token.clone());
            }
        }
        let named: HashSet<&str> = named().map(|token| token.content.as_str()).collect();
        for token in &mut tokens {
            token.special |= named.contains(token.content.as_str());
        }
        tokens
    }

    fn of_name(&self, name: &str) -> Option<&Option<AddedToken>> {
        self.named.iter().find(|(known, _)| known == name).map(|(_, token)| token)
    }

    fn name(&mut self, name: &str, token: Option<AddedToken>) {
        match self.named.iter_mut().find(|(known, _)| known == name) {
            // The last file wins, but the token keeps its place in the order.
            Some((_, known)) => *known = token,
            None => self.named.push((name.into(), token)),
        }
    }

    /// Adds the tokens that tokenizer_config.json names.
    fn add_settings(&mut self, file: &JsonFile) -> Result<(), TokenizerError> {
        for (key, value) in &file.keys {
            if STANDARD.contains(&key.as_str()) {
                self.name(key, named_token(file, key, value, typed)?);
            } else if key.ends_with("_token") && value.is_string() {
                // Only strings: flags such as `add_bos_token` also end in `_token`, but are not tokens.
                self.own.push((key.clone(), named_token(file, key, value, typed)?));
            } else if key.ends_with("_token") && is_typed(value) {
                self.name(key, named_token(file, key, value, typed)?);
            }
        }
        match extra_of(file) {
            Some(key) => self.add_extra(file, key, typed),
            None => Ok(()),
        }
    }

    /// Adds a list of tokens, or an object of tokens by name.
    fn add_extra(&mut self, file: &JsonFile, key: &str, form: Form) -> Result<(), TokenizerError> {
        match file.get(key) {
            None => Ok(()),
            Some(Value::Array(list)) => {
                for value in list {
                    let Some(token) = named_token(file, key, value, form)? else {
                        return Err(file.wrong(key, value, "tokens"));
                    };
                    if !self.extra.contains(&token) {
                        self.extra.push(token);
                    }
                }
                Ok(())
            }
            Some(Value::Object(tokens)) => {
                for (name, value) in tokens {
                    self.own.push((name.clone(), named_token(file, key, value, typed)?));
                }
                Ok(())
            }
            Some(value) => Err(file.wrong(key, value, "a list of tokens")),
        }
    }

    /// Adds `added_tokens_decoder`, which holds tokens by id.
    fn add_decoder(&mut self, file: &JsonFile) -> Result<(), TokenizerError> {
        const KEY: &str = "added_tokens_decoder";
        let value = &file.keys[KEY];
        let Some(tokens) = value.as_object() else {
            return Err(file.wrong(KEY, value, "an object of tokens by id"));
        };
        for (id, value) in tokens {
            // Python's `int` also ignores spaces around the digits.
            let Ok(id) = id.trim().parse() else {
                return Err(file.wrong(KEY, &Value::from(id.as_str()), "token ids"));
            };
            let token = written(file, KEY, value)?.token(None);
            self.numbered.insert(id, token);
        }
        Ok(())
    }

    /// Adds special_tokens_map.json, which wins over tokenizer_config.json.
    fn add_map(&mut self, file: &JsonFile) -> Result<(), TokenizerError> {
        for (key, value) in &file.keys {
            if STANDARD.contains(&key.as_str()) || (key.ends_with("_token") && (value.is_string() || value.is_object()))
            {
                self.name(key, named_token(file, key, value, plain)?);
            }
        }
        self.add_extra(file, EXTRA[0], plain)
    }

    /// Adds the older list of special_tokens_map.json, which is used only if there is no other list.
    fn add_old_extra(&mut self, file: &JsonFile, settings: &JsonFile) -> Result<(), TokenizerError> {
        let other = EXTRA.iter().any(|key| settings.keys.contains_key(*key)) || file.keys.contains_key(EXTRA[0]);
        // Objects are refused here, as transformers refuses them.
        if other { Ok(()) } else { self.add_extra(file, EXTRA[1], typed) }
    }

    /// Adds added_tokens.json, which holds ids by token. A token is special, and so not normalized, if another file
    /// names it. transformers checks this before it reads the objects of tokenizer_config.json and the older list of
    /// special_tokens_map.json, so those do not count here.
    fn add_encoder(&mut self, files: &TokenFiles) -> Result<(), TokenizerError> {
        let content = |value: &Value| value.as_str().or_else(|| value.get("content")?.as_str()).map(str::to_owned);
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let named = STANDARD.iter().filter_map(|name| match files.special.keys.get(*name) {
            Some(value) => content(value),
            None => files.settings.get(name).and_then(text),
        });
        let list = |file: &'_ JsonFile, key: &str| file.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
        let old = extra_of(&files.settings).map(|key| list(&files.settings, key)).unwrap_or_default();
        let new = list(&files.special, EXTRA[0]);
        let special: HashSet<String> =
            named.chain(old.iter().filter_map(text)).chain(new.iter().filter_map(content)).collect();
        for (content, id) in &files.added.keys {
            let Some(id) = id.as_u64() else { return Err(files.added.wrong(content, id, "a token id")) };
            self.numbered.insert(id, AddedToken::from(content.as_str(), special.contains(content)));
        }
        Ok(())
    }

    /// Adds the added tokens of tokenizer.json.
    fn add_whole(&mut self, file: &JsonFile) -> Result<(), TokenizerError> {
        const KEY: &str = "added_tokens";
        let Some(tokens) = file.get(KEY) else { return Ok(()) };
        let Some(tokens) = tokens.as_array() else { return Err(file.wrong(KEY, tokens, "a list of tokens")) };
        for value in tokens {
            let written = written(file, KEY, value)?;
            let Some(id) = written.id else { return Err(file.wrong(KEY, value, "tokens with ids")) };
            self.numbered.insert(id, written.token(None));
        }
        Ok(())
    }

    /// Replaces each standard special token by its entry with an id, if there is one: the flags written there win.
    fn take_flags(&mut self) {
        let flags: HashMap<&str, &AddedToken> =
            self.numbered.values().map(|token| (token.content.as_str(), token)).collect();
        for (name, token) in &mut self.named {
            if let Some(token) = token
                && STANDARD.contains(&name.as_str())
                && let Some(numbered) = flags.get(token.content.as_str())
            {
                *token = (*numbered).clone();
            }
        }
    }
}

/// The key of the list of tokenizer_config.json that is used: the newer one unless its list is empty.
fn extra_of(file: &JsonFile) -> Option<&'static str> {
    EXTRA.into_iter().find(|key| file.get(key).is_some_and(|value| value != &Value::from([""; 0])))
}

/// How a file writes a token as an object.
type Form = fn(&JsonFile, &str, &Value) -> Result<AddedToken, TokenizerError>;

/// In tokenizer_config.json, a token object must say that it is one, because the file holds other objects, too.
fn typed(file: &JsonFile, key: &str, value: &Value) -> Result<AddedToken, TokenizerError> {
    if !is_typed(value) {
        let expected = "a string, or an object with `\"__type\": \"AddedToken\"`";
        return Err(file.wrong(key, value, expected));
    }
    Ok(written(file, key, value)?.token(None))
}

/// In special_tokens_map.json, every object is a special token.
fn plain(file: &JsonFile, key: &str, value: &Value) -> Result<AddedToken, TokenizerError> {
    Ok(written(file, key, value)?.token(Some(true)))
}

const TYPE: &str = "__type";

fn is_typed(value: &Value) -> bool {
    value.get(TYPE).is_some_and(|kind| kind == "AddedToken")
}

/// A token written as a string or as an object; None if the file says null.
fn named_token(file: &JsonFile, key: &str, value: &Value, form: Form) -> Result<Option<AddedToken>, TokenizerError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(AddedToken::from(text.as_str(), true))),
        object => form(file, key, object).map(Some),
    }
}

fn written(file: &JsonFile, key: &str, value: &Value) -> Result<Written, TokenizerError> {
    Written::deserialize(value).map_err(|error| file.wrong(key, value, &format!("an added token ({error})")))
}

/// The special tokens that a class uses if no file names them.
fn defaults(class: Class) -> &'static [(&'static str, &'static str)] {
    match class {
        Class::Bert => &[
            ("unk_token", "[UNK]"),
            ("sep_token", "[SEP]"),
            ("pad_token", "[PAD]"),
            ("cls_token", "[CLS]"),
            ("mask_token", "[MASK]"),
        ],
        Class::Roberta => &[
            ("bos_token", "<s>"),
            ("eos_token", "</s>"),
            ("unk_token", "<unk>"),
            ("sep_token", "</s>"),
            ("pad_token", "<pad>"),
            ("cls_token", "<s>"),
            ("mask_token", "<mask>"),
        ],
        // tokenizer.json already holds its special tokens.
        Class::Whole => &[],
    }
}
