//! Texts to token ids, by the tokenizer files of a Hugging Face folder.

use crate::example::Text;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};
use tokenizers::models::{bpe::BPE, wordpiece::WordPiece};
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::{bert::BertPreTokenizer, byte_level::ByteLevel};
use tokenizers::processors::{bert::BertProcessing, roberta::RobertaProcessing};
use tokenizers::{AddedToken, EncodeInput, Encoding, PostProcessor};

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

/// Token ids of one sequence, special tokens included.
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
    #[error("`max_length` is {max_length}, expected {least} or more: a pair has {special} special tokens", special = least - 1)]
    TooShort { max_length: usize, least: usize },
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
}

impl TokenizerError {
    /// What to do about it, where there is something to say.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { .. } => Some("copy the tokenizer files of the model into the folder".into()),
            Self::Corrupt { .. } => Some("copy or download the file again and compare its checksum".into()),
            Self::TooShort { .. } => Some("set it with --max-length".into()),
            Self::Read { .. } => None,
        }
    }
}

/// How the texts of an input are made and cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pieces {
    /// As the tokenizer's own files say; the joined input is cut at `max_length`, its longest text first.
    #[default]
    Joined,
    /// As in the ACL 2020 study: each text is stripped, gets a space in front where the vocabulary is byte-level, and is
    /// cut at `max_length` - 2; the joined input is not cut.
    Apart,
}

/// A loaded tokenizer, cut at a fixed length.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    max_length: usize,
    pieces: Pieces,
    byte_level: bool,
    files: Vec<PathBuf>,
    digest: String,
}

impl Tokenizer {
    /// The same tokenizer with its texts made and cut in this way.
    #[must_use]
    pub fn with_pieces(self, pieces: Pieces) -> Self {
        Self { pieces, ..self }
    }

    /// Loads the tokenizer of `folder`. `max_length` tokens, special ones included, are kept of an input; a pair is
    /// cut at its longer text first (`longest_first` of transformers).
    ///
    /// # Errors
    /// If there is no tokenizer, it is corrupt or adds no special tokens, or `max_length` has no room for a pair's.
    pub fn load(folder: &Path, family: TokenizerFamily, max_length: usize) -> Result<Self, TokenizerError> {
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
            TokenizerFamily::Bert if has("vocab.txt") => {
                (folder.join("vocab.txt"), word_piece(folder, &Config::read(folder)?))
            }
            TokenizerFamily::Roberta if has("vocab.json") && has("merges.txt") => {
                (folder.join("vocab.json"), byte_level_bpe(folder, &Config::read(folder)?))
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
        let special = inner.get_post_processor().map_or(0, |processor| processor.added_tokens(true));
        if special == 0 {
            return Err(corrupt("no post_processor".into(), "one that adds the special tokens"));
        }
        if max_length <= special {
            return Err(TokenizerError::TooShort { max_length, least: special + 1 });
        }
        // A published file may carry the padding and truncation of its own training run.
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|error| corrupt(error.to_string(), "a tokenizer"))?;
        let digest = hasher.finalize().to_hex().to_string();
        let byte_level = family == TokenizerFamily::Roberta;
        Ok(Self { inner, max_length, pieces: Pieces::Joined, byte_level, files, digest })
    }

    /// Ids of one input: one sequence, or one for each choice.
    ///
    /// # Errors
    /// If the tokenizer's model fails, for example on an unknown token without an `unk_token`.
    pub fn encode(&self, text: &Text) -> Result<Vec<Feature>, TokenizerError> {
        let feature = |input: EncodeInput<'_>| {
            let encoding = self.inner.encode_fast(input, true).map_err(|error| self.failed(text, &*error))?;
            let kept = self.kept(&encoding);
            let select = |values: &[u32]| kept.iter().map(|token| values[*token]).collect();
            let truncated = kept.len() < encoding.len();
            Ok(Feature { ids: select(encoding.get_ids()), type_ids: select(encoding.get_type_ids()), truncated })
        };
        self.inputs(text).into_iter().map(feature).collect()
    }

    /// Where each token of [`Tokenizer::encode`] comes from, `[tokens]` of each sequence: its characters, counted in its
    /// own text; 0..0 for special tokens. Spans in a text become spans of tokens through these.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn offsets(&self, text: &Text) -> Result<Vec<Vec<Range<usize>>>, TokenizerError> {
        let offsets = |input: EncodeInput<'_>| {
            let encoding = self.inner.encode_char_offsets(input, true).map_err(|error| self.failed(text, &*error))?;
            let offset = |token: usize| encoding.get_offsets()[token].0..encoding.get_offsets()[token].1;
            Ok(self.kept(&encoding).into_iter().map(offset).collect())
        };
        self.inputs(text).into_iter().map(offsets).collect()
    }

    /// The token of each id; `?` for an id that there is not.
    pub fn tokens(&self, ids: &[u32]) -> Vec<String> {
        ids.iter().map(|id| self.inner.id_to_token(*id).unwrap_or_else(|| "?".into())).collect()
    }

    /// The tokens that stay: the special ones, and the first ones of each text.
    fn kept(&self, encoding: &Encoding) -> Vec<usize> {
        let texts = encoding.get_sequence_ids();
        let lengths = [0, 1].map(|text| texts.iter().filter(|of| **of == Some(text)).count());
        let special = texts.len() - lengths[0] - lengths[1];
        let mut left = match self.pieces {
            Pieces::Joined => longest_first(lengths, self.max_length.saturating_sub(special)),
            Pieces::Apart => lengths.map(|length| length.min(self.max_length.saturating_sub(2))),
        };
        let mut stays = |text: usize| {
            let stays = left[text] > 0;
            left[text] -= usize::from(stays);
            stays
        };
        (0..texts.len()).filter(|token| texts[*token].is_none_or(&mut stays)).collect()
    }

    /// One input for each sequence.
    fn inputs<'a>(&self, text: &'a Text) -> Vec<EncodeInput<'a>> {
        let piece = |text: &'a str| match (self.pieces, self.byte_level) {
            (Pieces::Joined, _) => Cow::from(text),
            (Pieces::Apart, false) => Cow::from(text.trim()),
            (Pieces::Apart, true) => Cow::from(format!(" {}", text.trim())),
        };
        let pair = |(first, second): &'a (String, String)| EncodeInput::from((piece(first), piece(second)));
        match text {
            Text::Single(text) => vec![piece(text).into()],
            Text::Pair(first, second) => vec![EncodeInput::from((piece(first), piece(second)))],
            Text::Choices(pairs) => pairs.iter().map(pair).collect(),
        }
    }

    fn failed(&self, text: &Text, error: &(dyn std::error::Error + Send + Sync)) -> TokenizerError {
        TokenizerError::Corrupt {
            path: self.files.first().cloned().unwrap_or_default(),
            found: format!("{error} for {text:?}"),
            expected: "a token for every text".into(),
        }
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

/// How many tokens stay of two texts that have room for `room`: the longer one is cut until both are as long, then both,
/// and of an odd number the second gets one more unless the first was longer.
///
/// Source: `truncate_encodings` of tokenizers 0.23, on whole texts. The crate itself stops tokenising a text once it has
/// `max_length` tokens, and then takes the wrong one of two long texts for the longer.
fn longest_first(lengths: [usize; 2], room: usize) -> [usize; 2] {
    let [first, second] = lengths;
    if first + second <= room {
        return lengths;
    }
    let (shorter, longer) = (first.min(second), first.max(second));
    let longer = longer.min(shorter.max(room.saturating_sub(shorter)));
    let (shorter, longer) = if shorter + longer <= room { (shorter, longer) } else { (room / 2, room / 2 + room % 2) };
    if first > second { [longer, shorter] } else { [shorter, longer] }
}

/// What tokenizer_config.json says of a tokenizer without tokenizer.json. Names and defaults as in transformers.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Config {
    do_lower_case: Option<bool>,
    tokenize_chinese_chars: Option<bool>,
    strip_accents: Option<bool>,
    add_prefix_space: Option<bool>,
    unk_token: Option<SpecialToken>,
    sep_token: Option<SpecialToken>,
    pad_token: Option<SpecialToken>,
    cls_token: Option<SpecialToken>,
    mask_token: Option<SpecialToken>,
}

/// Older files write the text, newer ones an object.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum SpecialToken {
    Text(String),
    Object { content: String },
}

impl Config {
    /// The file of `folder`; the defaults if there is none.
    fn read(folder: &Path) -> Result<Self, TokenizerError> {
        let path = folder.join("tokenizer_config.json");
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| TokenizerError::Corrupt {
                path,
                found: error.to_string(),
                expected: "the settings of a tokenizer".into(),
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(TokenizerError::Read { path, source }),
        }
    }
}

fn name_of<'a>(token: Option<&'a SpecialToken>, default: &'a str) -> &'a str {
    match token {
        None => default,
        Some(SpecialToken::Text(text) | SpecialToken::Object { content: text }) => text,
    }
}

type Made<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// As `BertTokenizer` of transformers 5.23: lower-cased unless tokenizer_config.json says otherwise.
fn word_piece(folder: &Path, config: &Config) -> Made<tokenizers::Tokenizer> {
    let vocab = WordPiece::read_file(&folder.join("vocab.txt").to_string_lossy())?;
    let unk = name_of(config.unk_token.as_ref(), "[UNK]");
    let sep = name_of(config.sep_token.as_ref(), "[SEP]");
    let pad = name_of(config.pad_token.as_ref(), "[PAD]");
    let cls = name_of(config.cls_token.as_ref(), "[CLS]");
    let mask = name_of(config.mask_token.as_ref(), "[MASK]");
    let model = WordPiece::builder().vocab(vocab).unk_token(unk.into()).build()?;
    let mut tokenizer = tokenizers::Tokenizer::new(model);
    let normalizer = BertNormalizer::new(
        true,
        config.tokenize_chinese_chars.unwrap_or(true),
        config.strip_accents,
        config.do_lower_case.unwrap_or(true),
    );
    tokenizer.with_normalizer(Some(normalizer))?;
    tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
    let processor = BertProcessing::new(with_id(&tokenizer, sep)?, with_id(&tokenizer, cls)?);
    tokenizer.with_post_processor(Some(processor));
    add_specials(&mut tokenizer, &[pad, unk, cls, sep, mask])?;
    Ok(tokenizer)
}

/// As `RobertaTokenizer` of transformers 5.23: no space is put in front unless tokenizer_config.json says so.
fn byte_level_bpe(folder: &Path, config: &Config) -> Made<tokenizers::Tokenizer> {
    let prefix_space = config.add_prefix_space.unwrap_or(false);
    let file = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let model = BPE::from_file(&file("vocab.json"), &file("merges.txt")).build()?;
    let mut tokenizer = tokenizers::Tokenizer::new(model);
    let unk = name_of(config.unk_token.as_ref(), "<unk>");
    let sep = name_of(config.sep_token.as_ref(), "</s>");
    let pad = name_of(config.pad_token.as_ref(), "<pad>");
    let cls = name_of(config.cls_token.as_ref(), "<s>");
    let mask = name_of(config.mask_token.as_ref(), "<mask>");
    tokenizer.with_pre_tokenizer(Some(ByteLevel::new(prefix_space, true, true)));
    let processor = RobertaProcessing::new(with_id(&tokenizer, sep)?, with_id(&tokenizer, cls)?);
    tokenizer.with_post_processor(Some(processor.trim_offsets(true).add_prefix_space(prefix_space)));
    add_specials(&mut tokenizer, &[cls, pad, sep, unk, mask])?;
    Ok(tokenizer)
}

fn with_id(tokenizer: &tokenizers::Tokenizer, token: &str) -> Made<(String, u32)> {
    let id = tokenizer.token_to_id(token).ok_or_else(|| format!("no special token `{token}`"))?;
    Ok((token.into(), id))
}

/// Makes those that the vocabulary has whole tokens, wherever they stand in a text.
fn add_specials(tokenizer: &mut tokenizers::Tokenizer, tokens: &[&str]) -> Made<()> {
    let known: Vec<AddedToken> =
        tokens.iter().filter(|t| tokenizer.token_to_id(t).is_some()).map(|t| AddedToken::from(*t, true)).collect();
    tokenizer.add_special_tokens(known)?;
    Ok(())
}
