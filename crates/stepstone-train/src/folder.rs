//! The run folder: its files and how they are written.
//!
//! `run.json`: identity and recipe. `log.jsonl`: one line per event. `scores.json`: written last, so that its presence
//! means that the run is done. `model/`: a Hugging Face folder. `resume/`: only while training. Also
//! `predictions.jsonl`, `timing.json` and `failure.json`.

use crate::error::TrainError;
use crate::overrides::Source;
use crate::recipe::Recipe;
use crate::role::Role;
use crate::scores::{SCORES_FORMAT, Scores};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use stepstone_files::{read_at_most, write_atomically};

/// Format of the files of a run folder but `scores.json`, raised when a field changes meaning.
pub const FORMAT: u32 = 1;

/// Far more than any record, score list or log of a run.
const MOST_BYTES: u64 = 64 << 20;

/// `run.json`: what determines a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct RunRecord {
    pub format: u32,
    pub id: String,
    pub identity: Identity,
    pub sources: BTreeMap<String, Source>,
}

impl RunRecord {
    /// The record of a run: its id is a hash of `identity`.
    ///
    /// # Errors
    /// If JSON cannot hold a value of the recipe.
    pub fn new(identity: Identity) -> Result<Self, TrainError> {
        let sources = identity.recipe.sources.iter().map(|(key, source)| ((*key).to_owned(), source.clone())).collect();
        let id = identity.id().map_err(|error| TrainError::BadRun {
            path: "run.json".into(),
            found: error.to_string(),
            expected: "a recipe that JSON can hold".into(),
        })?;
        Ok(Self { format: FORMAT, id, identity, sources })
    }
}

/// Everything that the id is a hash of; paths are left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// Version of the program's numerics.
    pub numerics: u32,
    /// Digest of the encoder, or `run:ID` of the run that makes it.
    pub encoder: String,
    /// Digest of the tokenizer files.
    pub tokenizer: String,
    /// Name of the task.
    pub task: String,
    /// Role of the task.
    pub role: Role,
    /// Digest of the data files read.
    pub data: String,
    /// Labels in class-id order.
    pub labels: Vec<String>,
    /// Every value of the recipe.
    pub recipe: Recipe,
    /// Restart number.
    pub seed: u64,
    /// Width of the arithmetic, `f32`.
    pub precision: String,
    /// Kind of device, `cpu`.
    pub device: String,
}

impl Identity {
    fn id(&self) -> Result<String, serde_json::Error> {
        let text = serde_json::to_string(self)?;
        // 64 bits: a collision among a million runs has a probability of 3e-8.
        Ok(blake3::hash(text.as_bytes()).to_hex()[..16].to_string())
    }
}

/// `failure.json`: why a run failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct FailureRecord {
    pub format: u32,
    pub reason: String,
    pub hint: Option<String>,
}

/// `timing.json`: how the last process that trained the run spent its time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Format of the file.
    pub format: u32,
    /// Threads of the device.
    pub threads: usize,
    /// Optimizer steps.
    pub steps: u64,
    /// Seconds that they took.
    pub step_seconds: f64,
    /// Tokens that they processed.
    pub tokens: u64,
    /// Evaluations, including the last scoring of the best weights.
    pub evaluations: u64,
    /// Seconds that they took.
    pub evaluation_seconds: f64,
    /// Tokens that they processed.
    pub evaluation_tokens: u64,
    /// Largest activation arena.
    pub activation_bytes: usize,
}

/// The folder of one run.
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Names a folder; reads and creates nothing.
    pub fn new(path: &Path) -> Self {
        Self { path: path.into() }
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
    /// If the file exists but cannot be read, or is not as it was written.
    pub fn scores(&self) -> Result<Option<Scores>, TrainError> {
        let scores: Option<Scores> = self.read("scores.json", SCORES_FORMAT)?;
        match scores.as_ref().map(Scores::check) {
            Some(Err((found, expected))) => Err(TrainError::BadRun { path: self.file("scores.json"), found, expected }),
            Some(Ok(())) | None => Ok(scores),
        }
    }

    /// Why the run failed, if it did.
    ///
    /// # Errors
    /// If the file exists but cannot be read.
    pub fn failure(&self) -> Result<Option<FailureRecord>, TrainError> {
        self.read("failure.json", FORMAT)
    }

    /// How the time of a finished run was spent.
    ///
    /// # Errors
    /// If the file exists but cannot be read.
    pub fn timing(&self) -> Result<Option<Timing>, TrainError> {
        self.read("timing.json", FORMAT)
    }

    /// Writes `failure.json`, and the folder if there is none.
    ///
    /// # Errors
    /// If the system refuses a write.
    pub fn fail(&self, reason: String, hint: Option<String>) -> Result<(), TrainError> {
        self.create()?;
        // The log comes first: once failure.json exists, nobody looks at the run any more.
        self.log("failed", serde_json::json!({"reason": reason}))?;
        self.write("failure.json", &FailureRecord { format: FORMAT, reason, hint })
    }

    /// Removes the record of an earlier failure, so that the run can be tried again.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn forget_failure(&self) -> Result<(), TrainError> {
        self.remove("failure.json")
    }

    /// Removes the scores of an incomplete run: their presence would mean that it is done.
    pub(crate) fn forget_scores(&self) -> Result<(), TrainError> {
        self.remove("scores.json")
    }

    fn remove(&self, name: &str) -> Result<(), TrainError> {
        let path = self.file(name);
        stepstone_files::remove(&path).map_err(TrainError::write(&path))
    }

    /// Makes a finished run one that has to be made again, because of `damage`.
    ///
    /// # Errors
    /// If the system refuses a write.
    pub fn discard(&self, damage: &TrainError) -> Result<(), TrainError> {
        self.log("damaged", serde_json::json!({"reason": damage.to_string()}))?;
        self.forget_scores()
    }

    /// `run.json`, if there is one.
    ///
    /// # Errors
    /// If the file exists but cannot be read, or its id is not that of its identity.
    pub fn record(&self) -> Result<Option<RunRecord>, TrainError> {
        let Some(record) = self.read::<RunRecord>("run.json", FORMAT)? else { return Ok(None) };
        let bad = |found, expected| TrainError::BadRun { path: self.file("run.json"), found, expected };
        // Whoever trusts the id trusts labels and recipe with it.
        match record.identity.id() {
            Ok(id) if id == record.id => Ok(Some(record)),
            Ok(id) => Err(bad(format!("id {}", record.id), format!("{id}, the hash of its identity"))),
            Err(error) => Err(bad(error.to_string(), "a recipe that JSON can hold".into())),
        }
    }

    /// `run.json`, which must be there.
    ///
    /// # Errors
    /// If it is absent or unreadable.
    pub fn existing_record(&self) -> Result<RunRecord, TrainError> {
        self.record()?.ok_or_else(|| TrainError::BadRun {
            path: self.file("run.json"),
            found: "no such file".into(),
            expected: "the record of the run".into(),
        })
    }

    /// Whether the last event of `log.jsonl` is that the run is done. Events after that would say that it is made again.
    pub(crate) fn logged_done(&self) -> bool {
        let log = read_at_most(&self.file("log.jsonl"), MOST_BYTES).unwrap_or_default();
        let last = log.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        serde_json::from_slice::<serde_json::Value>(last).is_ok_and(|line| line["event"] == "done")
    }

    /// Creates the folder and `run.json`.
    pub(crate) fn open(&self, record: &RunRecord) -> Result<(), TrainError> {
        match self.record() {
            // Two runs must not mix their files in one folder.
            Ok(Some(found)) if found.id != record.id => {
                Err(TrainError::OtherRun { path: self.path.clone(), found: found.id })
            }
            // The record follows from the request, so nothing is lost by writing it again, and damage is mended.
            Ok(_) | Err(TrainError::BadRun { .. }) => {
                self.create()?;
                self.write("run.json", record)
            }
            Err(error) => Err(error),
        }
    }

    fn create(&self) -> Result<(), TrainError> {
        fs::create_dir_all(&self.path).map_err(|source| TrainError::Create { path: self.path.clone(), source })
    }

    /// Writes a JSON file atomically.
    pub(crate) fn write(&self, name: &str, value: &impl Serialize) -> Result<(), TrainError> {
        let path = self.file(name);
        let text = serde_json::to_string_pretty(value).map_err(io::Error::other);
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
        self.append("log.jsonl", &serde_json::Value::Object(line).to_string())
    }

    /// Appends a line to a file, in one write. If a kill has torn the last line, a line break comes first.
    fn append(&self, name: &str, line: &str) -> Result<(), TrainError> {
        let path = self.file(name);
        let write = || {
            let mut file = OpenOptions::new().read(true).create(true).append(true).open(&path)?;
            let mut last = [b'\n'];
            // A character device has no end to seek to, and no torn line either.
            if file.metadata()?.is_file() && file.seek(SeekFrom::End(-1)).is_ok() {
                file.read_exact(&mut last)?;
            }
            // One write for the whole line, so that lines of two processes do not mix.
            let torn = if last == [b'\n'] { "" } else { "\n" };
            file.write_all(format!("{torn}{line}\n").as_bytes())
        };
        write().map_err(TrainError::write(&path))
    }

    /// Reads a JSON file of format `newest` or older.
    fn read<T: DeserializeOwned>(&self, name: &str, newest: u32) -> Result<Option<T>, TrainError> {
        #[derive(Deserialize)]
        struct Versioned {
            format: u32,
        }
        let path = self.file(name);
        let bytes = match read_at_most(&path, MOST_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if absent(&error) => return Ok(None),
            Err(source) => return Err(TrainError::Read { path, source }),
        };
        let bad = |found: String, expected: String| TrainError::BadRun { path: path.clone(), found, expected };
        // The version is read on its own first: a newer file may lack fields that this version requires.
        let version =
            serde_json::from_slice::<Versioned>(&bytes).map_err(|e| bad(e.to_string(), "a run file".into()))?;
        if version.format > newest {
            let found = format!("format {}", version.format);
            let expected = format!("at most {newest}: use a newer stepstone");
            return Err(TrainError::Newer { path, found, expected });
        }
        serde_json::from_slice(&bytes).map(Some).map_err(|error| bad(error.to_string(), "a run file".into()))
    }
}

/// A path below a file does not exist either; creating it will fail with an error of its own.
fn absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn place() -> (tempfile::TempDir, RunFolder) {
        let place = tempfile::tempdir().expect("a folder");
        let folder = RunFolder::new(&place.path().join("run"));
        folder.create().expect("creates");
        (place, folder)
    }

    fn failure(reason: &str) -> FailureRecord {
        FailureRecord { format: FORMAT, reason: reason.into(), hint: None }
    }

    #[test]
    fn what_is_written_is_read_back_and_what_is_forgotten_is_gone() {
        let (_place, folder) = place();
        assert_eq!(folder.failure().expect("none"), None);
        folder.fail("the loss is NaN".into(), None).expect("writes");
        assert_eq!(folder.failure().expect("one"), Some(failure("the loss is NaN")));
        folder.forget_failure().expect("removes");
        folder.forget_failure().expect("nothing to remove is no error");
        assert_eq!(folder.failure().expect("none"), None);
    }

    #[test]
    fn torn_newer_and_unreadable_files_are_told_apart() {
        let (_place, folder) = place();
        let path = folder.file("failure.json");
        for text in ["", "{", "null", "{\"format\": 1}", "{\"format\": \"one\"}"] {
            fs::write(&path, text).expect("writes");
            assert!(matches!(folder.failure(), Err(TrainError::BadRun { .. })), "{text:?}");
        }
        fs::write(&path, "{\"format\": 2, \"more\": 1}").expect("writes");
        assert!(matches!(folder.failure(), Err(TrainError::Newer { .. })));
        fs::remove_file(&path).expect("removes");
        fs::create_dir(&path).expect("a folder in its place");
        assert!(matches!(folder.failure(), Err(TrainError::Read { .. })));
    }

    #[test]
    fn a_line_torn_by_a_kill_costs_one_line_of_the_log() {
        let (_place, folder) = place();
        folder.log("start", json!({"step": 0})).expect("writes");
        let mut text = fs::read_to_string(folder.file("log.jsonl")).expect("a log");
        text.push_str("{\"time\": \"2026");
        fs::write(folder.file("log.jsonl"), text).expect("writes");
        folder.log("resume", json!({"step": 3})).expect("writes");
        let text = fs::read_to_string(folder.file("log.jsonl")).expect("a log");
        let lines: Vec<Option<Value>> = text.lines().map(|line| serde_json::from_str(line).ok()).collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[1].is_none(), "{text}");
        assert_eq!(lines[2].as_ref().map(|line| &line["step"]), Some(&json!(3)), "{text}");
    }
}
