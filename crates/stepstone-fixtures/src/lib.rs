//! Files that the tests of several crates read, by name. Each helper panics when a fixture is missing: that is a bug
//! of the checkout, not of the test.

use std::fs;
use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The tiny random encoder of a family, `bert` or `roberta`, with its golden logits and gradients beside it.
///
/// Made by `tools/golden/make_encoders.py` and `make_choices.py`. The folder has no tokenizer; see [`copy_encoder`].
pub fn encoder(family: &str) -> PathBuf {
    folder("encoders").join(family)
}

/// Made-up data of every task in its official layout: one folder per task, 8 training and 4 dev examples.
pub fn tasks() -> PathBuf {
    folder("tasks")
}

/// The bytes of a compressed table of sst2: gzip 1.12, zstd and pzstd 1.5.4.
///
/// # Panics
/// If there is no such file.
pub fn compressed(name: &str) -> Vec<u8> {
    fs::read(folder("compressed").join(name)).expect(name)
}

/// Makes `to` a folder that every command accepts as an encoder: the tiny BERT and a WordPiece vocabulary.
///
/// The vocabulary is the five special tokens, then `words`; the encoder's table has 61 rows.
///
/// # Panics
/// If the folder cannot be written.
pub fn copy_encoder(to: &Path, words: &[impl AsRef<str>]) {
    fs::create_dir_all(to).expect("a folder for the encoder");
    for file in ["config.json", "model.safetensors"] {
        fs::copy(encoder("bert").join(file), to.join(file)).expect(file);
    }
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].into_iter();
    let lines: Vec<&str> = special.chain(words.iter().map(AsRef::as_ref)).collect();
    fs::write(to.join("vocab.txt"), lines.join("\n")).expect("vocab.txt");
}
