//! Encoder and data of `stepstone demo`: a small random encoder and three made-up tasks with their own vocabulary.

use std::fs;
use std::io;
use std::path::Path;
use stepstone_engine::rng;
use stepstone_models::{EncoderConfig, ModelError, write_random_encoder};

/// Seed of the encoder and the data.
const SEED: u64 = 20;
/// Training and dev examples of each task.
const SPLITS: [(&str, usize); 2] = [("train.tsv", 320), ("dev.tsv", 120)];

const GOOD: [&str; 6] = ["bright", "warm", "honest", "lively", "tender", "clever"];
const BAD: [&str; 6] = ["dull", "cold", "false", "tired", "clumsy", "empty"];
const NOUNS: [&str; 8] = ["film", "song", "river", "garden", "letter", "story", "friend", "window"];
const VERBS: [&str; 6] = ["finds", "keeps", "opens", "follows", "paints", "remembers"];
const OTHERS: [&str; 4] = ["the", "a", "is", "and"];

// `vocab_size` is the length of `vocabulary()`, 5 special tokens and 30 words; the positions are the max_length below.
const CONFIG: &str = r#"{
  "architectures": ["BertModel"],
  "model_type": "bert",
  "vocab_size": 35,
  "hidden_size": 64,
  "num_hidden_layers": 2,
  "num_attention_heads": 4,
  "intermediate_size": 128,
  "hidden_act": "gelu",
  "hidden_dropout_prob": 0.1,
  "attention_probs_dropout_prob": 0.1,
  "max_position_embeddings": 32,
  "type_vocab_size": 2,
  "initializer_range": 0.02,
  "layer_norm_eps": 1e-12,
  "pad_token_id": 0
}
"#;

/// The study over these tasks.
const STUDY: &str = r#"# Written by `stepstone demo`: a random encoder and made-up tasks. It shows the steps of a study, but no transfer.

[study]
name = "demo"
model = "encoder"
data = "data"
restarts = 2
baseline_restarts = 3

[tasks]
intermediate = ["sst2"]
target = ["rte"]
probe = ["cola"]

[recipe]
learning_rate = 1e-3
max_steps = 300
evaluations = 5
max_length = 32
"#;

/// Writes encoder, data and study.toml into `folder`.
///
/// # Errors
/// If the system refuses a write.
pub(crate) fn make(folder: &Path) -> Result<(), ModelError> {
    let written = |path: &Path, text: &str| {
        fs::write(path, text).map_err(|source| ModelError::Write { path: path.into(), source })
    };
    let made = |path: &Path| fs::create_dir_all(path).map_err(|source| ModelError::Write { path: path.into(), source });
    let encoder = folder.join("encoder");
    made(&encoder)?;
    written(&encoder.join("config.json"), CONFIG)?;
    written(&encoder.join("vocab.txt"), &vocabulary().join("\n"))?;
    write_random_encoder(&encoder, &EncoderConfig::read(&encoder)?, SEED)?;
    for (task, header, line) in TASKS {
        let data = folder.join("data").join(task);
        made(&data)?;
        for (split, (file, rows)) in SPLITS.into_iter().enumerate() {
            // Each split has its own stream, so that dev rows do not repeat the training rows.
            let mut draw = Draw { stream: split as u32, next: 0 };
            let mut text = header.to_owned();
            (0..rows).for_each(|row| text.push_str(&line(row, &mut draw)));
            written(&data.join(file), &text)?;
        }
    }
    written(&folder.join("study.toml"), STUDY)
}

fn vocabulary() -> Vec<&'static str> {
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
    [&special[..], &OTHERS, &GOOD, &BAD, &NOUNS, &VERBS].concat()
}

/// Folder, header line, and the line of a row.
type MadeTask = (&'static str, &'static str, fn(usize, &mut Draw) -> String);

const TASKS: [MadeTask; 3] = [
    ("sst2", "sentence\tlabel\n", mood),
    ("rte", "index\tsentence1\tsentence2\tlabel\n", entailment),
    // The official files of CoLA have no header.
    ("cola", "", word_order),
];

/// A row of the mood task: one word decides the label.
fn mood(_: usize, draw: &mut Draw) -> String {
    let label = draw.below(2);
    let (noun, other) = (draw.word(&NOUNS), draw.word(&NOUNS));
    // As in SST-2, label 1 is the positive one.
    let adjective = draw.word([&BAD, &GOOD][label]);
    format!("the {noun} is {adjective} and a {other}\t{label}\n")
}

/// A row of the entailment task: the label says whether the second sentence repeats the verb of the first.
fn entailment(row: usize, draw: &mut Draw) -> String {
    let (noun, other, verb) = (draw.word(&NOUNS), draw.word(&NOUNS), draw.word(&VERBS));
    let entails = draw.below(2) == 0;
    // A different draw may repeat the verb, so the label depends on the words and not on `entails`.
    let second = if entails { verb } else { draw.word(&VERBS) };
    let label = if second == verb { "entailment" } else { "not_entailment" };
    format!("{row}\tthe {noun} {verb} the {other}\tthe {noun} {second}\t{label}\n")
}

/// A row of the word-order task: the article comes before or after the noun. Noise flips a tenth of the labels.
fn word_order(_: usize, draw: &mut Draw) -> String {
    let label = draw.below(2);
    let (noun, verb, other) = (draw.word(&NOUNS), draw.word(&VERBS), draw.word(&NOUNS));
    let text = match label {
        1 => format!("the {noun} {verb} a {other}"),
        _ => format!("{noun} the {verb} {other} a"),
    };
    // Noise, so that restarts differ and the report has a spread to show.
    let label = if draw.below(10) == 0 { 1 - label } else { label };
    format!("made\t{label}\t\t{text}\n")
}

/// A fixed sequence of random numbers.
struct Draw {
    stream: u32,
    next: u64,
}

impl Draw {
    /// The next number in `0..n`.
    fn below(&mut self, n: usize) -> usize {
        self.next += 1;
        // The offset keeps these streams apart from those of the encoder's tensors, which use the same seed.
        let draw = rng::uniform(SEED, (1 << 16) + self.stream, self.next);
        // Rounding could make the product `n` for a draw close to 1.
        ((draw * n as f64) as usize).min(n - 1)
    }

    fn word(&mut self, words: &[&'static str]) -> &'static str {
        words[self.below(words.len())]
    }
}

/// Whether a demo may write into `folder`, which must be absent, empty or an earlier demo.
pub(crate) fn is_free(folder: &Path) -> io::Result<bool> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
        Ok(mut entries) => {
            // An edited study file makes the folder the user's own, so the text must be unchanged.
            Ok(entries.next().is_none()
                || fs::read_to_string(folder.join("study.toml")).is_ok_and(|text| text == STUDY))
        }
    }
}
