//! Opens the model of a finished run and checks that its files are complete.

use crate::bridge::{answers, tokenizer_family};
use crate::error::TrainError;
use crate::folder::{RunFolder, RunRecord};
use crate::model::HEAD_FILE;
use crate::run::Run;
use crate::scores::Scores;
use std::io::ErrorKind;
use std::path::Path;
use stepstone_models::{Classifier, EncoderConfig, HeadKind, ModelError, Weights};
use stepstone_tasks::{Task, Tokenizer, TokenizerError};

/// The model of a run, opened.
pub(crate) struct SavedModel {
    pub(crate) config: EncoderConfig,
    /// Including those of the head.
    pub(crate) weights: Weights,
    pub(crate) tokenizer: Tokenizer,
}

impl SavedModel {
    /// Opens the model of a run in `folder`.
    pub(crate) fn open(folder: &Path, record: &RunRecord) -> Result<Self, TrainError> {
        let recipe = &record.identity.recipe;
        let open = || {
            let config = EncoderConfig::read(folder)?;
            let mut weights = Weights::open(folder, &config)?;
            match recipe.head {
                HeadKind::Hf => {}
                HeadKind::Linear => weights.add_file(&folder.join(HEAD_FILE), &config)?,
            }
            let tokenizer = Tokenizer::load(folder, tokenizer_family(config.family), recipe.inputs.max_length)?;
            Ok(Self { tokenizer: tokenizer.with_pieces(recipe.inputs.pieces), config, weights })
        };
        open().map_err(damaged)
    }

    /// Reads every tensor once: each must be there, have its shape, and hold finite numbers.
    pub(crate) fn check(&self, task: &Task, record: &RunRecord) -> Result<(), TrainError> {
        let answers = answers(task, record.identity.labels.len());
        let model = Classifier::new(&self.config, record.identity.recipe.head, answers);
        let mut values = Vec::new();
        for part in model.layout.parts() {
            values.resize(part.param.len(), 0.0);
            self.weights.read(&part.name, &part.shape, &mut values).map_err(|error| damaged(error.into()))?;
        }
        Ok(())
    }
}

/// A missing or torn file of a run's model cannot be downloaded again: only training restores it.
fn damaged(error: TrainError) -> TrainError {
    match error {
        // A folder in the place of a file holds nothing of the model, so the file is missing.
        TrainError::Model(ModelError::Read { ref source, .. })
        | TrainError::Tokenizer(TokenizerError::Read { ref source, .. })
            if source.kind() == ErrorKind::IsADirectory =>
        {
            TrainError::DamagedModel(Box::new(error))
        }
        // Any other file that cannot be read may be whole, so it does not count as damaged.
        TrainError::Model(ModelError::Read { .. }) | TrainError::Tokenizer(TokenizerError::Read { .. }) => error,
        TrainError::Model(_) | TrainError::Tokenizer(_) => TrainError::DamagedModel(Box::new(error)),
        other => other,
    }
}

impl RunFolder {
    /// Checks that other runs can start from the model of this run.
    ///
    /// # Errors
    /// [`TrainError::DamagedModel`] if a file of the model is missing or torn; another if it cannot be read.
    pub fn check_model(&self) -> Result<(), TrainError> {
        SavedModel::open(&self.file("model"), &self.existing_record()?).map(drop)
    }
}

impl Run {
    /// The scores, if the run is done and its files are as it wrote them. A damaged run counts as not done.
    ///
    /// # Errors
    /// If the folder holds another run, or something that this version must not touch.
    pub fn finished(&self) -> Result<Option<Scores>, TrainError> {
        let (folder, id) = (&self.folder, &self.record.id);
        let (record, scores) = (whole(folder.record())?, whole(folder.scores())?);
        let found = record.iter().map(|record| &record.id).chain(scores.iter().map(|scores| &scores.run_id));
        if let Some(found) = found.into_iter().find(|found| *found != id) {
            return Err(TrainError::OtherRun { path: folder.path().into(), found: found.clone() });
        }
        // Without run.json nothing says which run the scores belong to.
        if record.is_none() || (scores.is_some() && whole(folder.verify().map(Some))?.is_none()) {
            return Ok(None);
        }
        match self.keep_model.then(|| folder.check_model()) {
            // Only training makes a model, so a run with a damaged model is not done even if its scores are there.
            Some(Err(TrainError::DamagedModel(_))) => Ok(None),
            // After any other error the model may be whole, so a finished run is not trained again.
            Some(Err(error)) if scores.is_some() => Err(error),
            Some(_) | None => Ok(scores),
        }
    }
}

/// A damaged file counts as absent.
fn whole<T>(read: Result<Option<T>, TrainError>) -> Result<Option<T>, TrainError> {
    match read {
        Err(TrainError::BadRun { .. }) => Ok(None),
        other => other,
    }
}

/// Record and scores of a finished run whose files are all as it wrote them.
pub(crate) fn verified(run: &Path) -> Result<(RunRecord, Scores), TrainError> {
    let found = finished(run)?;
    RunFolder::new(run).verify()?;
    Ok(found)
}

/// Record and scores of a finished run; its other files are not looked at.
pub(crate) fn finished(run: &Path) -> Result<(RunRecord, Scores), TrainError> {
    let folder = RunFolder::new(run);
    let record = folder.record()?.ok_or_else(|| TrainError::MissingRun { path: run.into() })?;
    let scores = folder.scores()?.ok_or_else(|| TrainError::Unfinished { run: run.into() })?;
    Ok((record, scores))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Outcome;
    use crate::testing::{control, place, request, run};
    use serde_json::json;
    use std::fs;
    use std::path::PathBuf;
    use std::sync::atomic::AtomicBool;

    fn train(run: &Run) -> Result<Outcome, TrainError> {
        run.train(&control(&AtomicBool::new(false)), &mut |_| {})
    }

    /// All files of a folder except the log and the times, with their bytes.
    fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() {
                found.extend(files(&entry));
            } else if !["log.jsonl", "timing.json"].iter().any(|name| entry.ends_with(name)) {
                found.push((entry.clone(), fs::read(&entry).expect("a file")));
            }
        }
        found.sort();
        found
    }

    #[test]
    fn whatever_is_torn_or_missing_in_a_finished_run_is_made_again_with_the_same_bytes() {
        let place = place();
        let run = run(place.path(), "run", &json!({"head": "linear"}));
        train(&run).expect("trains");
        let want = files(run.folder.path());
        assert!(run.finished().expect("looks").is_some());
        let table = [
            "scores.json",
            "run.json",
            "model/config.json",
            "model/model.safetensors",
            "model/head.safetensors",
            "model/vocab.txt",
        ];
        for name in table {
            for cut in [None, Some(0), Some(20)] {
                let path = run.folder.file(name);
                match cut {
                    None => fs::remove_file(&path).expect("removes"),
                    Some(length) => {
                        let bytes = fs::read(&path).expect("reads");
                        fs::write(&path, &bytes[..length]).expect("cuts");
                    }
                }
                assert!(run.finished().expect("looks").is_none(), "{name} cut to {cut:?}");
                train(&run).expect("trains again");
                assert!(files(run.folder.path()) == want, "{name} cut to {cut:?}");
            }
        }
        fs::remove_dir_all(run.folder.file("model")).expect("removes");
        train(&run).expect("trains again");
        assert!(files(run.folder.path()) == want, "no model at all");
    }

    #[test]
    fn a_run_that_keeps_no_model_is_finished_without_one() {
        let place = place();
        let request = crate::RunRequest { keep_model: false, ..request(place.path(), "run", &json!({})) };
        let run = Run::prepare(&request).expect("a run");
        let Outcome::Done(scores) = train(&run).expect("trains") else { panic!("stopped") };
        assert!(!run.folder.file("model").exists());
        assert_eq!(run.finished().expect("looks"), Some(scores));
    }

    #[test]
    fn files_of_a_newer_version_or_of_another_run_are_never_written_over() {
        let place = place();
        let run = run(place.path(), "run", &json!({}));
        train(&run).expect("trains");
        let other = Run::prepare(&crate::RunRequest { seed: 1, ..request(place.path(), "other", &json!({})) });
        let other = other.expect("a run");
        train(&other).expect("trains");
        let of_other = |name: &str| fs::read_to_string(other.folder.file(name)).expect("a file");
        for (name, text) in [
            ("scores.json", "{\"format\": 3}".to_owned()),
            ("run.json", "{\"format\": 2}".to_owned()),
            ("scores.json", of_other("scores.json")),
            ("run.json", of_other("run.json")),
        ] {
            let before = fs::read(run.folder.file(name)).expect("a file");
            fs::write(run.folder.file(name), &text).expect("writes");
            let error = train(&run).expect_err("left alone");
            assert!(matches!(error, TrainError::Newer { .. } | TrainError::OtherRun { .. }), "{error:?}");
            assert_eq!(fs::read_to_string(run.folder.file(name)).expect("a file"), text);
            fs::write(run.folder.file(name), before).expect("writes");
        }
    }
}
