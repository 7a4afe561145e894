//! The store: the folder of all runs, shared by workers and, if they name the same folder, by studies.

use crate::error::{StudyError, causes};
use crate::lease::{Holder, Leases};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use stepstone_train::{FailureRecord, RunFolder, Scores, TrainError, Verified};

/// A folder with one folder per run, named by its id.
#[derive(Debug, Clone)]
pub struct Store {
    path: PathBuf,
}

/// State of a run.
#[derive(Debug, Clone, PartialEq)]
pub enum RunState {
    /// Finished.
    Done(Box<Scores>),
    /// Failed; it is tried again only when asked.
    Failed(FailureRecord),
    /// A file that the run needs is missing or torn. The next worker that takes the run restores it.
    Damaged(FailureRecord),
    /// The folder holds something that this version must not touch: files of a newer version, another run, or
    /// unreadable files.
    Foreign(FailureRecord),
    /// A worker has it.
    Running(Holder),
    /// No worker has it.
    Waiting {
        /// Whether an earlier attempt has saved its state.
        resumable: bool,
    },
}

impl Store {
    /// Names a store; creates nothing.
    pub fn new(path: &Path) -> Self {
        Self { path: path.into() }
    }

    /// Checks that the folders of the runs can be reached; a store that does not exist yet can. Without this check, every
    /// run of a closed store would seem to have failed.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn check_open(&self) -> Result<(), StudyError> {
        // The folder's own entry for itself, because looking it up needs the same right as looking up a run.
        match fs::metadata(self.path.join(".")) {
            Err(source) if !matches!(source.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                Err(StudyError::Read { path: self.path.clone(), source })
            }
            // A path below a file does not exist either; creating it fails with an error of its own.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Creates the folder and checks that it is readable and writable.
    ///
    /// # Errors
    /// If the folder cannot be created, read or written.
    pub fn create(&self) -> Result<(), StudyError> {
        self.check_open()?;
        let failed = |source| StudyError::Create { path: self.path.clone(), source };
        fs::create_dir_all(&self.path).map_err(failed)?;
        // Workers may start at the same time, so each process has a file name of its own.
        let probe = self.path.join(format!("writable.{}.tmp", std::process::id()));
        // Only a real write tells: permissions know nothing of read-only mounts and quotas.
        fs::write(&probe, b"").and_then(|()| fs::remove_file(&probe)).map_err(failed)
    }

    /// The folder of a run.
    pub fn folder(&self, id: &str) -> RunFolder {
        RunFolder::new(&self.path.join(id))
    }

    /// The state of a run. Does not check whether its model is still there; see [`crate::state()`].
    pub fn state(&self, id: &str, leases: &mut Leases) -> RunState {
        let found = self.on_disk(id);
        // No worker takes a run in these states, so leases need not be read.
        if matches!(found, RunState::Done(_) | RunState::Foreign(_)) {
            return found;
        }
        leases.holder(self.folder(id).path()).map_or(found, RunState::Running)
    }

    /// The state of a run according to the files in its folder; leases are ignored.
    pub fn on_disk(&self, id: &str) -> RunState {
        match self.read(id) {
            Ok(state) => state,
            Err(error @ TrainError::BadRun { .. }) => RunState::Damaged(failure(&error)),
            Err(error) => RunState::Foreign(failure(&error)),
        }
    }

    /// The ids of all runs in the store, sorted.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn ids(&self) -> Result<Vec<String>, StudyError> {
        let failed = |source| StudyError::Read { path: self.path.clone(), source };
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries.collect::<Result<Vec<_>, _>>().map_err(failed)?,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed(error)),
        };
        let folders = entries.iter().filter(|entry| entry.path().is_dir());
        let mut ids: Vec<String> = folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        ids.sort();
        Ok(ids)
    }

    /// Compares every file of a run with the digests in its scores; None if the run is not finished.
    ///
    /// # Errors
    /// What is wrong with the run.
    pub fn verify(&self, id: &str) -> Result<Option<Verified>, FailureRecord> {
        match self.on_disk(id) {
            // A run that waits may be a finished one whose scores have been removed.
            RunState::Done(_) | RunState::Waiting { .. } => match self.folder(id).verify() {
                Err(TrainError::Unfinished { .. }) => Ok(None),
                checked => checked.map(Some).map_err(|error| failure(&error)),
            },
            RunState::Damaged(failure) | RunState::Foreign(failure) => Err(failure),
            RunState::Failed(_) | RunState::Running(_) => Ok(None),
        }
    }

    /// Compares every file of a finished run with its digest. A damaged run loses its scores, unless somebody makes it
    /// again already: then the next worker makes it again. Returns what was wrong.
    ///
    /// # Errors
    /// If the system refuses a write.
    pub fn discard_if_damaged(&self, id: &str, leases: &mut Leases) -> Result<Option<FailureRecord>, StudyError> {
        let folder = self.folder(id);
        // What cannot be read may be whole, and what is not finished has nothing to compare.
        let damage = || folder.verify().err().filter(|error| matches!(error, TrainError::BadRun { .. }));
        let Some(mut found) = damage() else { return Ok(None) };
        if let Some(lease) = leases.take(folder.path())? {
            // Another worker may have made it again between the look and the lease.
            let Some(still) = damage() else {
                lease.remove();
                return Ok(None);
            };
            folder.discard(&still)?;
            found = still;
            lease.release()?;
        }
        Ok(Some(failure(&found)))
    }

    fn read(&self, id: &str) -> Result<RunState, TrainError> {
        let folder = self.folder(id);
        let scores = folder.scores()?;
        let record = folder.record()?;
        let found = record.as_ref().map(|record| &record.id).into_iter().chain(scores.as_ref().map(|s| &s.run_id));
        if let Some(other) = found.into_iter().find(|found| *found != id) {
            return Err(TrainError::OtherRun { path: folder.path().into(), found: other.clone() });
        }
        if let Some(scores) = scores {
            // Scores without run.json are damage: nothing says which recipe they belong to.
            folder.existing_record()?;
            return Ok(RunState::Done(Box::new(scores)));
        }
        Ok(match folder.failure()? {
            Some(failure) => RunState::Failed(failure),
            None => RunState::Waiting { resumable: folder.path().join("resume").is_dir() },
        })
    }
}

/// The failure record of a run that cannot continue because of `error`.
pub(crate) fn failure(error: &TrainError) -> FailureRecord {
    FailureRecord { format: stepstone_train::FORMAT, reason: causes(error).join(": "), hint: error.hint() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::EXPIRY;

    /// The state that a store reports for run `r` whose folder holds `files`.
    fn state(files: &[(&str, &str)]) -> RunState {
        let place = tempfile::tempdir().expect("folder");
        let store = Store::new(place.path());
        store.create().expect("makes");
        let folder = place.path().join("r");
        fs::create_dir(&folder).expect("folder");
        for (file, text) in files {
            fs::write(folder.join(file), text).expect("file");
        }
        store.state("r", &mut Leases::new(EXPIRY))
    }

    const TORN: &str = "{\"format\": 1, \"run";
    const NEWER: &str = "{\"format\": 99}";
    const FAILURE: &str = "{\"format\": 1, \"reason\": \"the loss is NaN\", \"hint\": null}";
    const SCORES_OF_ANOTHER: &str = "{\"format\": 1, \"run_id\": \"s\", \"task\": \"rte\", \"scores\": [], \
        \"parts\": [], \"n_train\": 1, \"n_dev\": 1, \"n_classes\": 2, \"majority_score\": 0.5, \"steps\": 1, \
        \"best_step\": 1, \"final_train_loss\": 0.5, \"n_distinct_pred\": 1}";

    #[test]
    fn a_run_that_nobody_has_touched_waits_and_so_does_one_that_was_stopped() {
        assert_eq!(state(&[]), RunState::Waiting { resumable: false });
        let place = tempfile::tempdir().expect("folder");
        fs::create_dir_all(place.path().join("r/resume")).expect("folder");
        let state = Store::new(place.path()).state("r", &mut Leases::new(EXPIRY));
        assert_eq!(state, RunState::Waiting { resumable: true });
    }

    #[test]
    fn a_torn_or_empty_file_is_damage_that_the_next_taker_mends() {
        for file in ["scores.json", "run.json", "failure.json"] {
            for text in [TORN, "", "null"] {
                let RunState::Damaged(failure) = state(&[(file, text)]) else { panic!("{file} {text:?}") };
                assert!(failure.reason.contains(file), "{failure:?}");
                let hint = failure.hint.expect("a hint");
                assert!(hint.contains("restores damaged files"), "{hint}");
            }
        }
    }

    #[test]
    fn scores_without_a_record_are_damage() {
        let scores = SCORES_OF_ANOTHER.replace("\"s\"", "\"r\"");
        let RunState::Damaged(failure) = state(&[("scores.json", &scores)]) else { panic!("no damage") };
        assert!(failure.reason.contains("run.json"), "{failure:?}");
    }

    #[test]
    fn a_newer_format_and_another_run_are_left_alone_and_the_hint_names_the_folder() {
        for file in ["scores.json", "run.json", "failure.json"] {
            let RunState::Foreign(failure) = state(&[(file, NEWER)]) else { panic!("{file}") };
            assert!(failure.reason.contains("format 99, expected at most "), "{failure:?}");
            assert!(failure.hint.as_ref().is_some_and(|hint| hint.contains("/r")), "{failure:?}");
        }
        // A newer file beside a torn one still must not be overwritten.
        assert!(matches!(state(&[("scores.json", NEWER), ("run.json", TORN)]), RunState::Foreign(_)));
        let RunState::Foreign(failure) = state(&[("scores.json", SCORES_OF_ANOTHER)]) else { panic!("another run") };
        assert!(failure.reason.contains("another run, s"), "{failure:?}");
    }

    #[test]
    fn a_failure_is_told_as_it_was_written() {
        let RunState::Failed(failure) = state(&[("failure.json", FAILURE)]) else { panic!("no failure") };
        assert_eq!(failure.reason, "the loss is NaN");
    }

    #[test]
    fn a_holder_shows_as_running_unless_the_run_is_done_or_foreign() {
        let place = tempfile::tempdir().expect("folder");
        let (store, mut leases) = (Store::new(place.path()), Leases::new(EXPIRY));
        let _lease = leases.take(&place.path().join("r")).expect("takes").expect("free");
        for (text, running) in [(TORN, true), (NEWER, false)] {
            fs::write(place.path().join("r/scores.json"), text).expect("file");
            assert_eq!(matches!(store.state("r", &mut leases), RunState::Running(_)), running, "{text}");
        }
    }
}
