//! The store: the folder of all runs, shared by workers and by studies that wish to.

use crate::error::StudyError;
use crate::lease::{Holder, Leases};
use std::fs;
use std::path::{Path, PathBuf};
use stepstone_train::{FailureRecord, RunFolder, Scores};

/// A folder with one folder per run, named by its id.
#[derive(Debug, Clone)]
pub struct Store {
    path: PathBuf,
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq)]
pub enum RunState {
    /// Finished.
    Done(Box<Scores>),
    /// Failed, or its folder cannot be read; it is tried again only when asked.
    Failed(FailureRecord),
    /// A worker has it.
    Running(Holder),
    /// Nobody has it; true if there is something to resume.
    Waiting {
        /// Whether an earlier attempt has saved its state.
        resumable: bool,
    },
}

impl Store {
    /// Names a store; nothing is made.
    pub fn new(path: &Path) -> Self {
        Self { path: path.into() }
    }

    /// Makes the folder and sees whether it can be written.
    ///
    /// # Errors
    /// If not.
    pub fn create(&self) -> Result<(), StudyError> {
        let failed = |source| StudyError::Create { path: self.path.clone(), source };
        fs::create_dir_all(&self.path).map_err(failed)?;
        let probe = self.path.join(format!("writable.{}.tmp", std::process::id()));
        fs::write(&probe, b"").and_then(|()| fs::remove_file(&probe)).map_err(failed)
    }

    /// The folder of a run.
    pub fn folder(&self, id: &str) -> RunFolder {
        RunFolder::new(&self.path.join(id))
    }

    /// How far a run is.
    pub fn state(&self, id: &str, leases: &mut Leases) -> RunState {
        let folder = self.folder(id);
        let failed = |error: stepstone_train::TrainError| {
            let (reason, hint) = (error.to_string(), error.hint());
            RunState::Failed(FailureRecord { format: stepstone_train::FORMAT, reason, hint })
        };
        match folder.scores() {
            Ok(Some(scores)) => return RunState::Done(Box::new(scores)),
            Ok(None) => {}
            Err(error) => return failed(error),
        }
        if let Some(holder) = leases.holder(folder.path()) {
            return RunState::Running(holder);
        }
        match folder.failure() {
            Ok(Some(failure)) => return RunState::Failed(failure),
            Ok(None) => {}
            Err(error) => return failed(error),
        }
        match folder.record() {
            Ok(_) => RunState::Waiting { resumable: folder.path().join("resume").is_dir() },
            Err(error) => failed(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::EXPIRY;

    #[test]
    fn a_damaged_folder_and_one_of_a_newer_version_are_failures_that_say_so() {
        let place = tempfile::tempdir().expect("folder");
        let store = Store::new(place.path());
        store.create().expect("makes");
        let state = |id: &str| store.state(id, &mut Leases::new(EXPIRY));
        assert_eq!(state("a"), RunState::Waiting { resumable: false });
        let table = [
            ("scores.json", "{\"format\": 1, \"run", "EOF while parsing"),
            ("scores.json", "{\"format\": 99}", "format 99, expected at most 1: use a newer stepstone"),
            ("run.json", "", "EOF while parsing"),
            ("failure.json", "{\"format\": 1, \"reason\": \"the loss is NaN\", \"hint\": null}", "the loss is NaN"),
        ];
        for (number, (file, text, reason)) in table.into_iter().enumerate() {
            let id = format!("run{number}");
            fs::create_dir(place.path().join(&id)).expect("folder");
            fs::write(place.path().join(&id).join(file), text).expect("file");
            match state(&id) {
                RunState::Failed(failure) => assert!(failure.reason.contains(reason), "{file}: {failure:?}"),
                other => panic!("{file}: {other:?}"),
            }
        }
    }
}
