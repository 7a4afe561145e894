//! The run folder: what lies where, and how it is written.
//!
//! `run.json` identity and recipe; `log.jsonl` one line per event; `scores.json` written last, so that its presence
//! means done; `predictions.jsonl`; `model/` a Hugging Face folder; `resume/` while training; `failure.json`.

use crate::error::TrainError;
use crate::recipe::{Recipe, Source};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use stepstone_models::write_atomically;
use stepstone_tasks::NamedScore;

/// Raised when a field changes meaning.
pub(crate) const FORMAT: u32 = 1;

/// `run.json`: what fixes a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct RunRecord {
    pub format: u32,
    pub id: String,
    pub identity: Identity,
    pub sources: BTreeMap<String, Source>,
}

/// Everything that the id is a hash of; paths never enter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    pub numerics: u32,
    pub encoder: String,
    pub tokenizer: String,
    pub task: String,
    pub data: String,
    pub labels: Vec<String>,
    pub recipe: Recipe,
    pub seed: u64,
    pub precision: String,
    pub device: String,
}

/// `scores.json`: the result of a finished run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are those of observations.csv")]
pub struct Scores {
    pub format: u32,
    pub run_id: String,
    pub task: String,
    /// On the whole dev split with the best weights; the primary metric first.
    pub scores: Vec<NamedScore>,
    /// Scores of parts of the dev split, such as `matched.accuracy`.
    pub parts: Vec<NamedScore>,
    pub n_train: usize,
    pub n_dev: usize,
    pub n_classes: usize,
    pub majority_score: f64,
    pub steps: u64,
    pub best_step: u64,
    /// Mean over the last tenth of the steps, nats.
    pub final_train_loss: f64,
    pub n_distinct_pred: usize,
}

/// The folder of one run.
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Names a folder; nothing is read or made.
    pub fn new(path: &Path) -> RunFolder {
        RunFolder { path: path.into() }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file in it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The scores, if the run is done.
    ///
    /// # Errors
    /// If the file is there but not readable.
    pub fn scores(&self) -> Result<Option<Scores>, TrainError> {
        self.read("scores.json")
    }

    /// `run.json`, if there is one.
    ///
    /// # Errors
    /// If the file is there but not readable.
    pub fn record(&self) -> Result<Option<RunRecord>, TrainError> {
        self.read("run.json")
    }

    /// Makes the folder and `run.json`, or checks that it is this run's.
    pub(crate) fn open(&self, record: &RunRecord) -> Result<(), TrainError> {
        if let Some(found) = self.record()? {
            if found.id != record.id {
                return Err(TrainError::OtherRun { path: self.path.clone(), found: found.id });
            }
            return Ok(());
        }
        fs::create_dir_all(&self.path).map_err(|source| TrainError::Create { path: self.path.clone(), source })?;
        self.write("run.json", record)
    }

    /// Writes a JSON file atomically.
    pub(crate) fn write(&self, name: &str, value: &impl Serialize) -> Result<(), TrainError> {
        let path = self.file(name);
        let text = serde_json::to_string_pretty(value).map_err(std::io::Error::other);
        text.and_then(|text| write_atomically(&path, format!("{text}\n").as_bytes())).map_err(TrainError::write(&path))
    }

    /// Appends one event to `log.jsonl`.
    pub(crate) fn log(&self, event: &str, fields: serde_json::Value) -> Result<(), TrainError> {
        let mut line = serde_json::Map::new();
        line.insert("time".into(), jiff::Timestamp::now().to_string().into());
        line.insert("event".into(), event.into());
        if let serde_json::Value::Object(fields) = fields {
            line.extend(fields);
        }
        let path = self.file("log.jsonl");
        let text = format!("{}\n", serde_json::Value::Object(line));
        let file = OpenOptions::new().create(true).append(true).open(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(TrainError::write(&path))
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, TrainError> {
        #[derive(Deserialize)]
        struct Versioned {
            format: u32,
        }
        let path = self.file(name);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            // What stands below a file does not exist either; making it will fail, and say so.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
            Err(source) => {
                return Err(TrainError::BadRun { path, found: source.to_string(), expected: "a file".into() });
            }
        };
        let bad = |found: String, expected: String| TrainError::BadRun { path: path.clone(), found, expected };
        let version =
            serde_json::from_slice::<Versioned>(&bytes).map_err(|e| bad(e.to_string(), "a run file".into()))?;
        if version.format > FORMAT {
            return Err(bad(format!("format {}", version.format), format!("at most {FORMAT}: use a newer stepstone")));
        }
        serde_json::from_slice(&bytes).map(Some).map_err(|error| bad(error.to_string(), "a run file".into()))
    }
}
