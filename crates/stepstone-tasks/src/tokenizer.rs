//! Texts to token ids, by the tokenizer files of a Hugging Face folder.

use crate::example::Text;
use std::path::{Path, PathBuf};
use tokenizers::models::{bpe::BPE, wordpiece::WordPiece};
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::{bert::BertPreTokenizer, byte_level::ByteLevel};
use tokenizers::processors::{bert::BertProcessing, roberta::RobertaProcessing};
use tokenizers::{AddedToken, EncodeInput, TruncationParams, TruncationStrategy};

/// The files that make a tokenizer; an export copies those that exist.
const FILES: [&str; 7] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
];

/// How a folder without tokenizer.json is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenizerFamily {
    /// WordPiece from `vocab.txt`.
    Bert,
    /// Byte-level BPE from `vocab.json` and `merges.txt`.
    Roberta,
}

/// Token ids of one input, special tokens included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    /// `[tokens]`
    pub ids: Vec<u32>,
    /// `[tokens]` segment of each token.
    pub type_ids: Vec<u32>,
    /// Whether text was cut.
    pub truncated: bool,
}

/// Why a tokenizer cannot be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum TokenizerError {
    #[error("{} has no tokenizer, expected tokenizer.json, vocab.txt, or vocab.json and merges.txt", folder.display())]
    Missing { folder: PathBuf },
    #[error("{}: {found}, expected {expected}", path.display())]
    Corrupt { path: PathBuf, found: String, expected: String },
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
}

/// A loaded tokenizer, cut at a fixed length.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    max_length: usize,
    files: Vec<PathBuf>,
    digest: String,
}

impl Tokenizer {
    /// Loads the tokenizer of `folder`. `max_length` tokens, special ones included, are kept of an input; a pair is
    /// cut at its longer text, token by token (`longest_first` of transformers).
    ///
    /// # Errors
    /// If there is no tokenizer, it is corrupt, or it adds no special tokens.
    pub fn load(folder: &Path, family: TokenizerFamily, max_length: usize) -> Result<Tokenizer, TokenizerError> {
        let files: Vec<PathBuf> = FILES.iter().map(|name| folder.join(name)).filter(|path| path.is_file()).collect();
        let mut hasher = blake3::Hasher::new();
        for path in &files {
            let bytes = std::fs::read(path).map_err(|source| TokenizerError::Read { path: path.clone(), source })?;
            hasher.update(&bytes);
        }
        let has = |name: &str| files.iter().any(|path| path.ends_with(name));
        let (path, made) = match family {
            _ if has("tokenizer.json") => {
                let path = folder.join("tokenizer.json");
                (path.clone(), tokenizers::Tokenizer::from_file(&path))
            }
            TokenizerFamily::Bert if has("vocab.txt") => (folder.join("vocab.txt"), word_piece(folder)),
            TokenizerFamily::Roberta if has("vocab.json") && has("merges.txt") => {
                (folder.join("vocab.json"), byte_level_bpe(folder))
            }
            TokenizerFamily::Bert | TokenizerFamily::Roberta => {
                return Err(TokenizerError::Missing { folder: folder.into() });
            }
        };
        let corrupt = |found: String, expected: &str| TokenizerError::Corrupt {
            path: path.clone(),
            found,
            expected: expected.into(),
        };
        let mut inner = made.map_err(|error| corrupt(error.to_string(), "a tokenizer"))?;
        if inner.get_post_processor().is_none() {
            return Err(corrupt("no post_processor".into(), "one that adds the special tokens"));
        }
        inner.with_padding(None);
        let truncation =
            TruncationParams { max_length, strategy: TruncationStrategy::LongestFirst, ..TruncationParams::default() };
        inner.with_truncation(Some(truncation)).map_err(|error| corrupt(error.to_string(), "a usable max_length"))?;
        Ok(Tokenizer { inner, max_length, files, digest: hasher.finalize().to_hex().to_string() })
    }

    /// Ids of one input.
    ///
    /// # Errors
    /// If the tokenizer's model fails, for example on an unknown token without an `unk_token`.
    pub fn encode(&self, text: &Text) -> Result<Feature, TokenizerError> {
        let input: EncodeInput = match text {
            Text::Single(text) => text.as_str().into(),
            Text::Pair(first, second) => (first.as_str(), second.as_str()).into(),
        };
        let encoding = self.inner.encode(input, true).map_err(|error| TokenizerError::Corrupt {
            path: self.files.first().cloned().unwrap_or_default(),
            found: format!("{error} for {text:?}"),
            expected: "a token for every text".into(),
        })?;
        let truncated = !encoding.get_overflowing().is_empty();
        Ok(Feature { ids: encoding.get_ids().to_vec(), type_ids: encoding.get_type_ids().to_vec(), truncated })
    }

    /// The cut.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// Number of tokens, added ones included.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The folder's tokenizer files.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// blake3 over the bytes of [`Tokenizer::files`]; 64 hex digits.
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

type Made = Result<tokenizers::Tokenizer, Box<dyn std::error::Error + Send + Sync>>;

/// As `BertTokenizer`: lower-cased unless tokenizer_config.json says otherwise.
fn word_piece(folder: &Path) -> Made {
    let config = config(folder);
    let flag = |key: &str| config.get(key).and_then(serde_json::Value::as_bool);
    let vocab = WordPiece::read_file(&folder.join("vocab.txt").to_string_lossy())?;
    let id = |token: &str| {
        vocab.get(token).copied().map(|id| (token.to_string(), id)).ok_or_else(|| format!("vocab.txt has no {token}"))
    };
    let (sep, cls) = (id("[SEP]")?, id("[CLS]")?);
    let model = WordPiece::builder().vocab(vocab).unk_token("[UNK]".into()).build()?;
    let mut tokenizer = tokenizers::Tokenizer::new(model);
    let normalizer = BertNormalizer::new(
        true,
        flag("tokenize_chinese_chars").unwrap_or(true),
        flag("strip_accents"),
        flag("do_lower_case").unwrap_or(true),
    );
    tokenizer.with_normalizer(Some(normalizer))?;
    tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
    tokenizer.with_post_processor(Some(BertProcessing::new(sep, cls)));
    add_specials(&mut tokenizer, &["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])?;
    Ok(tokenizer)
}

/// As `RobertaTokenizer`: no space is put in front unless tokenizer_config.json says so.
fn byte_level_bpe(folder: &Path) -> Made {
    let config = config(folder);
    let prefix_space = config.get("add_prefix_space").and_then(serde_json::Value::as_bool).unwrap_or(false);
    let name = |file: &str| folder.join(file).to_string_lossy().into_owned();
    let model = BPE::from_file(&name("vocab.json"), &name("merges.txt")).build()?;
    let mut tokenizer = tokenizers::Tokenizer::new(model);
    let id = |token: &str| {
        tokenizer
            .token_to_id(token)
            .map(|id| (token.to_string(), id))
            .ok_or_else(|| format!("vocab.json has no {token}"))
    };
    let (sep, cls) = (id("</s>")?, id("<s>")?);
    tokenizer.with_pre_tokenizer(Some(ByteLevel::new(prefix_space, true, true)));
    tokenizer.with_post_processor(Some(RobertaProcessing::new(sep, cls).add_prefix_space(prefix_space)));
    add_specials(&mut tokenizer, &["<s>", "<pad>", "</s>", "<unk>"])?;
    tokenizer.add_special_tokens([AddedToken::from("<mask>", true).lstrip(true)])?;
    Ok(tokenizer)
}

fn add_specials(
    tokenizer: &mut tokenizers::Tokenizer,
    tokens: &[&str],
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let known: Vec<AddedToken> =
        tokens.iter().filter(|t| tokenizer.token_to_id(t).is_some()).map(|t| AddedToken::from(*t, true)).collect();
    tokenizer.add_special_tokens(known)?;
    Ok(())
}

/// tokenizer_config.json, or nothing.
fn config(folder: &Path) -> serde_json::Map<String, serde_json::Value> {
    std::fs::read(folder.join("tokenizer_config.json"))
        .ok()
        .and_then(|b| serde_json::from_slice(&b).ok())
        .unwrap_or_default()
}
