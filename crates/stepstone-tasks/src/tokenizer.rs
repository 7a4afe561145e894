//! Tokenizes texts exactly as `AutoTokenizer` of transformers does with the same folder.

mod build;
mod class;
mod error;
mod json_file;
mod named;
mod truncation;

pub use class::TokenizerFamily;
pub use error::TokenizerError;

use crate::example::Text;
use build::{Built, build};
use json_file::MOST_BYTES;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};
use stepstone_files::read_at_most;
use tokenizers::{EncodeInput, Encoding};
use truncation::longest_first;

/// The files of a tokenizer; an export copies those that exist. `config.json` can also name the tokenizer class.
const FILES: [&str; 7] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
];

/// Longest text in bytes that is tokenized whole. A text of 8 MB took 13 s, and no encoder reads more than a few thousand
/// tokens.
const LONGEST_TEXT: usize = 1 << 20;

/// Token ids of one sequence, special tokens included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    /// `[tokens]`
    pub ids: Vec<u32>,
    /// `[tokens]`, the segment of each token.
    pub type_ids: Vec<u32>,
    /// Whether text was cut.
    pub truncated: bool,
}

/// How the texts of an input are prepared and truncated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pieces {
    /// As the tokenizer files say; the joined input is truncated to `max_length`, its longest text first.
    #[default]
    Joined,
    /// As in the ACL 2020 study: each text is stripped, gets a leading space if the vocabulary is byte-level, and is
    /// truncated to `max_length - 2` tokens. The joined input is not truncated.
    Apart,
}

/// A loaded tokenizer that truncates to a fixed length.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    max_length: usize,
    pieces: Pieces,
    byte_level: bool,
    type_ids: bool,
    files: Vec<PathBuf>,
    digest: String,
}

impl Tokenizer {
    /// The same tokenizer with this way to prepare and truncate texts.
    #[must_use]
    pub fn with_pieces(self, pieces: Pieces) -> Self {
        Self { pieces, ..self }
    }

    /// Loads the tokenizer of `folder`. It gives the tokens of `AutoTokenizer.from_pretrained(folder)` of transformers
    /// 5.24 for every combination of tokenizer files. An input keeps `max_length` tokens, special tokens included; the
    /// longer text of a pair is truncated first (`longest_first` of transformers).
    ///
    /// # Errors
    /// If there is no tokenizer, if it is corrupt or adds no special tokens, if a setting that changes tokens is not
    /// supported, or if `max_length` has no room for the special tokens of a pair and one token more.
    pub fn load(folder: &Path, family: TokenizerFamily, max_length: usize) -> Result<Self, TokenizerError> {
        let files: Vec<PathBuf> = FILES.iter().map(|name| folder.join(name)).filter(|path| path.is_file()).collect();
        let mut hasher = blake3::Hasher::new();
        for path in &files {
            let bytes =
                read_at_most(path, MOST_BYTES).map_err(|source| TokenizerError::Read { path: path.clone(), source })?;
            hasher.update(&bytes);
        }
        let Built { tokenizer: mut inner, kind, byte_level, special } = build(folder, family)?;
        if kind.by_model {
            // Only this key of config.json concerns the tokenizer, so the digest ignores the rest.
            hasher.update(format!("{:?}", kind.class).as_bytes());
        }
        if max_length <= special {
            return Err(TokenizerError::TooShort { max_length, least: special + 1 });
        }
        // A published tokenizer.json may contain the padding and truncation settings of its own training.
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|error| TokenizerError::Corrupt {
            path: folder.join(FILES[0]),
            found: error.to_string(),
            expected: "a tokenizer".into(),
        })?;
        let digest = hasher.finalize().to_hex().to_string();
        Ok(Self { inner, max_length, pieces: Pieces::Joined, byte_level, type_ids: kind.type_ids, files, digest })
    }

    /// Tokenizes one input into one sequence, or into one per choice.
    ///
    /// # Errors
    /// If the tokenizer's model fails, for example on an unknown token without an `unk_token`.
    pub fn encode(&self, text: &Text) -> Result<Vec<Feature>, TokenizerError> {
        let feature = |input: EncodeInput<'_>| {
            // `encode_fast` skips the offsets, which only `offsets` needs.
            let encoding = self.inner.encode_fast(input, true).map_err(|error| self.failed(text, &*error))?;
            // The whole text is tokenized first and truncated afterwards; `longest_first` needs the full lengths.
            let kept = self.kept(&encoding);
            let select = |values: &[u32]| kept.iter().map(|token| values[*token]).collect();
            let truncated = kept.len() < encoding.len();
            let type_ids = if self.type_ids { select(encoding.get_type_ids()) } else { vec![0; kept.len()] };
            Ok(Feature { ids: select(encoding.get_ids()), type_ids, truncated })
        };
        self.inputs(text).into_iter().map(feature).collect()
    }

    /// Character range of each token of [`Tokenizer::encode`] in its own text, `[tokens]` per sequence; 0..0 for
    /// special tokens. These ranges map text spans to token spans.
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

    /// The token of each id; `?` for an id without a token.
    pub fn tokens(&self, ids: &[u32]) -> Vec<String> {
        ids.iter().map(|id| self.inner.id_to_token(*id).unwrap_or_else(|| "?".into())).collect()
    }

    /// Indices of the tokens that truncation keeps: all special tokens, and the first tokens of each text.
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
        // Special tokens belong to no text and always stay, because heads read the first of them.
        (0..texts.len()).filter(|token| texts[*token].is_none_or(&mut stays)).collect()
    }

    /// One tokenizer input per sequence.
    fn inputs<'a>(&self, text: &'a Text) -> Vec<EncodeInput<'a>> {
        let piece = |text: &'a str| match (self.pieces, self.byte_level) {
            (Pieces::Joined, _) => Cow::from(shortened(text)),
            (Pieces::Apart, false) => Cow::from(shortened(text.trim())),
            (Pieces::Apart, true) => Cow::from(format!(" {}", shortened(text.trim()))),
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

    /// Maximum number of tokens of an input.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// Number of tokens, added tokens included.
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

/// The first [`LONGEST_TEXT`] bytes of a longer text, without the word that the limit would cut. The tokens before that word
/// are those of the whole text, and truncation to `max_length` drops the rest.
fn shortened(text: &str) -> &str {
    if text.len() <= LONGEST_TEXT {
        return text;
    }
    let head = &text[..text.floor_char_boundary(LONGEST_TEXT)];
    // A text without spaces is one word; cut anywhere, its first few thousand tokens stay the same.
    let end = head.rfind(char::is_whitespace).filter(|end| *end > LONGEST_TEXT / 2);
    &head[..end.unwrap_or(head.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_many_megabytes_loses_only_what_no_encoder_reads() {
        let short = "a b ".repeat(LONGEST_TEXT / 4);
        assert_eq!(shortened(&short), short);
        let words = "word ".repeat(LONGEST_TEXT);
        let head = shortened(&words);
        assert!(head.len() <= LONGEST_TEXT && head.ends_with("word"), "{} bytes", head.len());
        let one_word = format!("a{}", "é".repeat(LONGEST_TEXT));
        assert_eq!(shortened(&one_word).len(), LONGEST_TEXT - 1, "never inside a character");
    }
}
