//! Digests of the files of a finished run: [`list`] makes those that `scores.json` keeps, [`RunFolder::verify`] compares
//! them with the files.

use crate::error::TrainError;
use crate::folder::RunFolder;
use crate::scores::short;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use stepstone_files::check_regular;
use stepstone_models::ModelError;

/// How far the files of a finished run could be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verified {
    /// Every file is as the run wrote it.
    Whole,
    /// `scores.json` is of a version without digests: only run id and form are known to be right.
    WithoutDigests,
}

/// blake3 of every result in the folder, by its path there. `log.jsonl` and `timing.json` are left out: they hold times,
/// and would make the bytes of a result differ from one training to the next.
pub(crate) fn list(folder: &RunFolder) -> Result<BTreeMap<String, String>, TrainError> {
    let mut names = vec!["predictions.jsonl".to_owned(), "run.json".to_owned()];
    names.extend(model_files(&folder.file("model"))?.iter().map(|path| name_of(path)));
    let digest = |name: String| {
        let path = folder.file(&name);
        let digest = digest(&path)?.ok_or_else(|| TrainError::Read { path, source: ErrorKind::NotFound.into() })?;
        Ok((name, digest))
    };
    names.into_iter().map(digest).collect()
}

impl RunFolder {
    /// Compares every file of a finished run with its digest. A model that was deleted whole, to save space, is not
    /// missed.
    ///
    /// # Errors
    /// [`TrainError::BadRun`] if a file is not as the run wrote it; another if the run is not finished, is of a newer
    /// version, or cannot be read.
    pub fn verify(&self) -> Result<Verified, TrainError> {
        let bad = |path: PathBuf, found: String, expected: String| TrainError::BadRun { path, found, expected };
        let scores = self.scores()?.ok_or_else(|| {
            if self.logged_done() {
                let expected = "the scores of a run that is done, by its log.jsonl".into();
                return bad(self.file("scores.json"), "no such file".into(), expected);
            }
            TrainError::Unfinished { run: self.path().into() }
        })?;
        let record = self.existing_record()?;
        if scores.run_id != record.id {
            let (found, expected) = (format!("scores of run {}", scores.run_id), format!("those of {}", record.id));
            return Err(bad(self.file("scores.json"), found, expected));
        }
        if scores.digest.is_empty() {
            return Ok(Verified::WithoutDigests);
        }
        let model = self.file("model").exists();
        for (name, want) in scores.files.iter().filter(|(name, _)| model || !name.starts_with("model/")) {
            let (path, expected) = (self.file(name), format!("digest {}, by scores.json", short(want)));
            match digest(&path)? {
                Some(found) if found == *want => {}
                Some(found) => return Err(bad(path, format!("digest {}", short(&found)), expected)),
                None => return Err(bad(path, "no such file".into(), expected)),
            }
        }
        // A tokenizer reads more files than one has to have, so one file too many changes what the model is given.
        let unknown =
            model_files(&self.file("model"))?.into_iter().find(|path| !scores.files.contains_key(&name_of(path)));
        match unknown {
            Some(path) => Err(bad(path, "a file that the run did not write".into(), "no such file".into())),
            None => Ok(Verified::Whole),
        }
    }
}

/// What lies in the folder of a model, sorted; nothing if there is no folder.
pub(crate) fn model_files(folder: &Path) -> Result<Vec<PathBuf>, TrainError> {
    let failed = |source| ModelError::Read { path: folder.into(), source };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error).into()),
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    // Network disks and file managers leave hidden files, which nothing here reads.
    let hidden = |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let mut paths: Vec<PathBuf> = paths.into_iter().filter(|path| !hidden(path)).collect();
    paths.sort();
    Ok(paths)
}

/// The path of a file of the model in its run's folder.
fn name_of(path: &Path) -> String {
    format!("model/{}", path.file_name().unwrap_or_default().to_string_lossy())
}

/// blake3 of a file, 64 hex digits; None if there is no such file.
pub(crate) fn digest(path: &Path) -> Result<Option<String>, TrainError> {
    let failed = |source| TrainError::Read { path: path.into(), source };
    match check_regular(path) {
        Ok(()) => {}
        // A folder or a named pipe in its place is as if there were no file.
        Err(error) => {
            return match error.kind() {
                ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory | ErrorKind::InvalidInput => {
                    Ok(None)
                }
                _ => Err(failed(error)),
            };
        }
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path).map_err(failed)?).map_err(failed)?;
    Ok(Some(hasher.finalize().to_hex().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predict;
    use crate::run::{Run, RunRequest};
    use crate::testing::{place, request, train, without_digests};
    use serde_json::json;

    /// A trained run with this restart number, whose head lies in a file of its own.
    fn trained(place: &Path, seed: u64) -> Run {
        let request = RunRequest { seed, ..request(place, &format!("run-{seed}"), &json!({"head": "linear"})) };
        let run = Run::prepare(&request).expect("a run");
        train(&run);
        run
    }

    /// The results of a run: those that its scores list, and the scores.
    fn results(run: &Run) -> BTreeMap<String, Vec<u8>> {
        let listed = run.folder.scores().expect("scores").expect("done").files;
        let names = listed.into_keys().chain(["scores.json".to_owned()]);
        names.map(|name| (name.clone(), fs::read(run.folder.file(&name)).expect("a file"))).collect()
    }

    /// Verification and prediction name the file, and training makes the run again with the same bytes.
    fn is_found_and_mended(run: &Run, name: &str, want: &BTreeMap<String, Vec<u8>>, what: &str) {
        let found = run.folder.verify();
        let Err(TrainError::BadRun { path, .. }) = &found else { panic!("{name} {what}: {found:?}") };
        assert_eq!(path, &run.folder.file(name), "{what}");
        let rows = run.folder.path().with_file_name("rows.tsv");
        fs::write(&rows, "sentence\nw5 w6\n").expect("writes");
        let predicted = predict(run.folder.path(), &rows, 1);
        assert!(matches!(&predicted, Err(TrainError::BadRun { .. })), "{name} {what}: {predicted:?}");
        assert_eq!(run.finished().expect("looks"), None, "{name} {what}");
        train(run);
        assert_eq!(run.folder.verify().expect("whole"), Verified::Whole);
        assert!(results(run) == *want, "{name} {what}");
    }

    #[test]
    fn any_change_of_any_result_is_found_and_mended() {
        let place = place();
        let (run, other) = (trained(place.path(), 0), trained(place.path(), 1));
        let (want, foreign) = (results(&run), results(&other));
        let listed: Vec<&String> = want.keys().collect();
        let names =
            ["config.json", "head.safetensors", "model.safetensors", "vocab.txt"].map(|name| format!("model/{name}"));
        let all = names.iter().cloned().chain(["predictions.jsonl", "run.json", "scores.json"].map(str::to_owned));
        assert_eq!(listed, all.collect::<Vec<_>>().iter().collect::<Vec<_>>());
        for (name, bytes) in want.iter().filter(|(name, _)| *name != "scores.json") {
            let path = run.folder.file(name);
            let mut changed = bytes.clone();
            changed[bytes.len() / 2] ^= 1;
            // A record whose id is no longer its own says so before any digest does.
            let more = [bytes, &b"w99\n"[..]].concat();
            let table = [
                ("flipped bit", &changed[..]),
                ("line more", &more),
                ("cut", &bytes[..bytes.len() / 2]),
                ("empty", &[]),
            ];
            for (what, bytes) in table {
                fs::write(&path, bytes).expect("writes");
                is_found_and_mended(&run, name, &want, what);
            }
            if name != "run.json" && foreign[name] != *bytes {
                fs::write(&path, &foreign[name]).expect("writes");
                is_found_and_mended(&run, name, &want, "another run's");
            }
        }
    }

    #[test]
    fn reversed_labels_a_changed_score_and_a_file_too_many_are_found_and_mended() {
        let place = place();
        let run = trained(place.path(), 0);
        let want = results(&run);
        let replace = |name: &str, from: &str, to: &str| {
            let text = String::from_utf8(want[name].clone()).expect("text");
            assert!(text.contains(from), "{name}: {text}");
            fs::write(run.folder.file(name), text.replace(from, to)).expect("writes");
        };
        replace("run.json", "\"0\",\n      \"1\"", "\"1\",\n      \"0\"");
        is_found_and_mended(&run, "run.json", &want, "reversed labels");
        replace("scores.json", "\"n_train\": 26", "\"n_train\": 27");
        is_found_and_mended(&run, "scores.json", &want, "a changed number");
        fs::write(run.folder.file("model/added_tokens.json"), "{\"w5\": 7}").expect("writes");
        is_found_and_mended(&run, "model/added_tokens.json", &want, "a file that the tokenizer would read");
    }

    #[test]
    fn scores_of_another_run_are_named_and_never_written_over() {
        let place = place();
        let (run, other) = (trained(place.path(), 0), trained(place.path(), 1));
        fs::copy(other.folder.file("scores.json"), run.folder.file("scores.json")).expect("copies");
        let Err(TrainError::BadRun { found, .. }) = run.folder.verify() else { panic!("scores of another run") };
        assert_eq!(found, format!("scores of run {}", other.record.id));
        assert!(matches!(run.finished(), Err(TrainError::OtherRun { .. })));
    }

    #[test]
    fn hidden_files_and_a_deleted_model_are_no_damage_and_old_scores_have_no_digests() {
        let place = place();
        let run = trained(place.path(), 0);
        fs::write(run.folder.file("model/.nfs0001"), "").expect("writes");
        assert_eq!(run.folder.verify().expect("whole"), Verified::Whole);
        fs::remove_dir_all(run.folder.file("model")).expect("removes");
        assert_eq!(run.folder.verify().expect("whole"), Verified::Whole);
        without_digests(&run);
        assert_eq!(run.folder.verify().expect("reads"), Verified::WithoutDigests);
        fs::remove_file(run.folder.file("scores.json")).expect("removes");
        assert!(matches!(run.folder.verify(), Err(TrainError::BadRun { .. })), "the log says that it was done");
        fs::remove_file(run.folder.file("log.jsonl")).expect("removes");
        assert!(matches!(run.folder.verify(), Err(TrainError::Unfinished { .. })));
    }
}
