//! Builds the tokenizer that `AutoTokenizer.from_pretrained` of transformers 5.24 builds from a folder.
//!
//! The class decides (see [`Class`]). `BertTokenizer` and `RobertaTokenizer` take only the vocabulary from
//! tokenizer.json; they build normalizer, pre-tokenizer and post-processor from tokenizer_config.json. So
//! tokenizer_config.json wins if the two disagree, and its defaults win if a key is absent: a cased tokenizer.json
//! without tokenizer_config.json is lower-cased.

use super::class::{Class, Kind, TokenizerFamily};
use super::error::TokenizerError;
use super::json_file::JsonFile;
use super::named::{NamedTokens, TokenFiles};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tokenizers::models::{bpe::BPE, wordpiece::WordPiece};
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::{bert::BertPreTokenizer, byte_level::ByteLevel};
use tokenizers::processors::{bert::BertProcessing, roberta::RobertaProcessing};
use tokenizers::{Model, PostProcessor, Tokenizer};

/// A tokenizer, and the properties of its folder.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) tokenizer: Tokenizer,
    pub(super) kind: Kind,
    /// Whether tokens are sequences of bytes, so that the space before a word is part of its token.
    pub(super) byte_level: bool,
    /// Number of special tokens in a pair.
    pub(super) special: usize,
}

/// Builds the tokenizer of `folder`.
///
/// # Errors
/// If the folder has no tokenizer, if a file is corrupt, if a setting is not supported, or if the tokenizer adds no
/// special tokens.
pub(super) fn build(folder: &Path, family: TokenizerFamily) -> Result<Built, TokenizerError> {
    let files = TokenFiles {
        settings: JsonFile::read(folder, "tokenizer_config.json")?,
        special: JsonFile::read(folder, "special_tokens_map.json")?,
        added: JsonFile::read(folder, "added_tokens.json")?,
        whole: JsonFile::read(folder, "tokenizer.json")?,
    };
    refuse_unread(&files)?;
    let kind = Kind::of(&files.settings, &JsonFile::read(folder, "config.json")?, family)?;
    let tokens = NamedTokens::read(&files, kind.class)?;
    let source = Source { folder, files: &files, tokens: &tokens };
    let mut tokenizer = match kind.class {
        Class::Bert => source.word_piece()?,
        Class::Roberta => source.byte_level_bpe()?,
        Class::Whole => source.whole()?,
    };
    tokenizer.set_encode_special_tokens(files.settings.flag("split_special_tokens", false)?);
    // Heads read the state of the first token, which must be a special one.
    let special = tokenizer.get_post_processor().map_or(0, |processor| processor.added_tokens(true));
    if special == 0 {
        let (found, expected) = ("no post_processor".into(), "one that adds the special tokens".into());
        return Err(TokenizerError::Corrupt { path: files.whole.path.clone(), found, expected });
    }
    let byte_level = match kind.class {
        Class::Bert => false,
        Class::Roberta => true,
        // A complete tokenizer.json can contain any pre-tokenizer; those of RoBERTa encoders are byte-level.
        Class::Whole => family == TokenizerFamily::Roberta,
    };
    Ok(Built { tokenizer, kind, byte_level, special })
}

/// Refuses settings that change tokens and are not supported. The settings that are never read change no id: lengths,
/// padding, chat templates, decoding.
fn refuse_unread(files: &TokenFiles) -> Result<(), TokenizerError> {
    const RESAVE: &str = "load the tokenizer in Python and save it again: AutoTokenizer.from_pretrained(FOLDER)\
                          .save_pretrained(FOLDER)";
    let settings = &files.settings;
    let side = settings.text("truncation_side")?.unwrap_or_else(|| {
        let direction = files.whole.get("truncation").and_then(|truncation| truncation.get("direction"));
        direction.and_then(Value::as_str).unwrap_or("right")
    });
    if !side.eq_ignore_ascii_case("right") {
        let file = if settings.get("truncation_side").is_some() { settings } else { &files.whole };
        let remedy = "texts are only cut at the end: set it to right, or choose a `max_length` that cuts no text";
        return Err(file.refuse("truncation_side", &side.into(), "`right`", remedy));
    }
    let versions = settings.get("fast_tokenizer_files").and_then(Value::as_array);
    if let Some(file) = versions.into_iter().flatten().find(|file| *file != "tokenizer.json") {
        return Err(settings.refuse("fast_tokenizer_files", file, "`tokenizer.json`", RESAVE));
    }
    for key in ["vocab", "merges", "init_inputs"] {
        if let Some(value) = settings.get(key).filter(|value| *value != &Value::from([""; 0])) {
            return Err(settings.refuse(key, value, "nothing: a vocabulary belongs in its own file", RESAVE));
        }
    }
    Ok(())
}

/// The files and named tokens that a tokenizer is built from.
struct Source<'a> {
    folder: &'a Path,
    files: &'a TokenFiles,
    tokens: &'a NamedTokens,
}

impl Source<'_> {
    /// Builds what `BertTokenizer` builds: lower-casing unless tokenizer_config.json turns it off.
    fn word_piece(&self) -> Result<Tokenizer, TokenizerError> {
        let settings = &self.files.settings;
        let unk = self.needed("unk_token")?;
        let model = if let Some(vocab) = self.vocabulary("WordPiece", "vocab")? {
            let model = json!({
                // These are the defaults of WordPiece, which `BertTokenizer` uses whatever tokenizer.json says.
                "type": "WordPiece", "unk_token": unk, "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100, "vocab": vocab,
            });
            made(&self.files.whole.path, WordPiece::deserialize(&model))?
        } else {
            let path = self.file("vocab.txt")?;
            let vocab = made(&path, WordPiece::read_file(&path.to_string_lossy()))?;
            made(&path, WordPiece::builder().vocab(vocab).unk_token(unk.into()).build())?
        };
        let normalizer = BertNormalizer::new(
            true,
            settings.flag("tokenize_chinese_chars", true)?,
            match settings.get("strip_accents") {
                // None leaves it to the normalizer, which then strips accents exactly if it lower-cases.
                None => None,
                Some(_) => Some(settings.flag("strip_accents", false)?),
            },
            settings.flag("do_lower_case", true)?,
        );
        let mut tokenizer = Tokenizer::new(model);
        // The normalizer comes before the added tokens, because normalized tokens are matched in their normalized form.
        made(&settings.path, tokenizer.with_normalizer(Some(normalizer)).map(drop))?;
        tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
        self.add_tokens(&mut tokenizer)?;
        let (sep, cls) = (self.with_id(&tokenizer, "sep_token")?, self.with_id(&tokenizer, "cls_token")?);
        tokenizer.with_post_processor(Some(BertProcessing::new(sep, cls)));
        Ok(tokenizer)
    }

    /// Builds what `RobertaTokenizer` builds: no leading space unless tokenizer_config.json asks for it.
    fn byte_level_bpe(&self) -> Result<Tokenizer, TokenizerError> {
        let settings = &self.files.settings;
        let model = if let Some(vocab) = self.vocabulary("BPE", "vocab")? {
            let model = json!({
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                "vocab": vocab, "merges": self.vocabulary("BPE", "merges")?,
            });
            // The other keys of the model in tokenizer.json are ignored, as `RobertaTokenizer` ignores them.
            made(&self.files.whole.path, BPE::deserialize(&model))?
        } else {
            let (vocab, merges) = (self.file("vocab.json")?, self.file("merges.txt")?);
            made(&vocab, BPE::from_file(&vocab.to_string_lossy(), &merges.to_string_lossy()).build())?
        };
        let prefix_space = settings.flag("add_prefix_space", false)?;
        let mut tokenizer = Tokenizer::new(model);
        tokenizer.with_pre_tokenizer(Some(ByteLevel::new(prefix_space, true, true)));
        self.add_tokens(&mut tokenizer)?;
        let (sep, cls) = (self.with_id(&tokenizer, "sep_token")?, self.with_id(&tokenizer, "cls_token")?);
        let trim = settings.flag("trim_offsets", true)?;
        let processor = RobertaProcessing::new(sep, cls).trim_offsets(trim).add_prefix_space(prefix_space);
        tokenizer.with_post_processor(Some(processor));
        Ok(tokenizer)
    }

    /// Builds what `PreTrainedTokenizerFast` builds: tokenizer.json, plus the tokens that the other files add.
    fn whole(&self) -> Result<Tokenizer, TokenizerError> {
        let path = self.file("tokenizer.json")?;
        let mut tokenizer = made(&path, Tokenizer::from_file(&path))?;
        self.add_tokens(&mut tokenizer)?;
        Ok(tokenizer)
    }

    /// The vocabulary or the merges of tokenizer.json; None if there is no such file.
    fn vocabulary(&self, kind: &str, part: &str) -> Result<Option<&Value>, TokenizerError> {
        let file = &self.files.whole;
        if file.keys.is_empty() {
            return Ok(None);
        }
        let model = file.get("model").unwrap_or(&Value::Null);
        let found = model.get("type").unwrap_or(&Value::Null);
        let Some(value) = model.get(part).filter(|_| found.is_null() || found == kind) else {
            let expected = format!("a {kind} model, which the folder's tokenizer class needs");
            let remedy = "copy the tokenizer.json of this encoder, or name its class as `tokenizer_class` in \
                          tokenizer_config.json";
            return Err(file.refuse("model", found, &expected, remedy));
        };
        Ok(Some(value))
    }

    fn file(&self, name: &str) -> Result<PathBuf, TokenizerError> {
        let path = self.folder.join(name);
        if path.is_file() { Ok(path) } else { Err(TokenizerError::Missing { folder: self.folder.into() }) }
    }

    fn add_tokens(&self, tokenizer: &mut Tokenizer) -> Result<(), TokenizerError> {
        let known = tokenizer.get_added_tokens_decoder().into_values().map(|token| token.content).collect();
        let added = tokenizer.add_tokens(self.tokens.to_add(&known));
        made(&self.files.settings.path, added.map(drop))
    }

    /// A required special token.
    fn needed(&self, name: &str) -> Result<&str, TokenizerError> {
        self.tokens.get(name).ok_or_else(|| {
            let file = [&self.files.settings, &self.files.special];
            let file = file.into_iter().find(|file| file.keys.contains_key(name)).unwrap_or(&self.files.settings);
            file.refuse(name, &Value::Null, "a token", "name the token, or remove the key")
        })
    }

    /// A special token and its id. If neither the vocabulary nor a file gives the token an id, a file is missing; the
    /// token would get a new embedding row that the encoder was never trained with.
    fn with_id(&self, tokenizer: &Tokenizer, name: &str) -> Result<(String, u32), TokenizerError> {
        let token = self.needed(name)?;
        let known = tokenizer.get_model().token_to_id(token).is_some() || self.tokens.has_number(token);
        match tokenizer.token_to_id(token).filter(|_| known) {
            Some(id) => Ok((token.into(), id)),
            None => Err(TokenizerError::Corrupt {
                path: self.vocabulary_path(),
                found: format!("no special token `{token}`"),
                expected: format!("it, or another `{name}` in tokenizer_config.json or special_tokens_map.json"),
            }),
        }
    }

    fn vocabulary_path(&self) -> PathBuf {
        let names = ["tokenizer.json", "vocab.txt", "vocab.json"].map(|name| self.folder.join(name));
        names.into_iter().find(|path| path.is_file()).unwrap_or_else(|| self.folder.into())
    }
}

fn made<T, E: ToString>(path: &Path, result: Result<T, E>) -> Result<T, TokenizerError> {
    result.map_err(|error| TokenizerError::Corrupt {
        path: path.into(),
        found: error.to_string(),
        expected: "a tokenizer".into(),
    })
}
