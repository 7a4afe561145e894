//! Checks of output folders. A command refuses a folder that holds something else: its own files would be mixed with
//! others, and the next command could not tell them apart.

use crate::exit::Failure;
use std::fs;
use std::path::Path;

/// Whether this entry shows that its folder holds a run.
pub(crate) fn of_run(entry: &Path) -> bool {
    // The lease is the first file of a run, so a run killed at its start may have left nothing else.
    let is_lease = entry.file_name().is_some_and(|name| name.to_string_lossy().starts_with("lease."));
    is_lease || is_named(entry, &["run.json", "log.jsonl", "failure.json"])
}

/// Whether this entry shows that its folder holds a study.
pub(crate) fn of_study(entry: &Path) -> bool {
    is_named(entry, &["runs", "observations.csv", "plan.json", "study.json"])
}

/// Whether this entry shows that its folder holds an analysis, or several in subfolders.
pub(crate) fn of_analysis(entry: &Path) -> bool {
    is_named(entry, &["analysis.json", "agreement.json"]) || entry.join("analysis.json").exists()
}

fn is_named(entry: &Path, names: &[&str]) -> bool {
    entry.file_name().is_some_and(|found| names.iter().any(|name| found == *name))
}

/// Accepts a folder that is absent, empty, or has an entry that is `ours`. `what` names the failed action in an error.
pub(crate) fn check(what: &str, folder: &Path, ours: fn(&Path) -> bool) -> Result<(), Failure> {
    // If the folder cannot be listed, the first write into it reports that.
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    let entries: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    // The first entry by name, so that the same folder always gives the same message.
    match entries.iter().min() {
        Some(first) if !entries.iter().any(|entry| ours(entry)) => {
            Err(Failure::occupied(what.to_owned(), folder, Path::new(first.file_name().unwrap_or_default())))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_must_be_absent_or_empty_or_hold_an_earlier_result() {
        let place = tempfile::tempdir().expect("folder");
        let folder = place.path().join("out");
        let passes = |ours| check("cannot", &folder, ours).is_ok();
        assert!(passes(of_run), "absent");
        fs::create_dir(&folder).expect("folder");
        assert!(passes(of_run), "empty");
        fs::write(folder.join("notes.txt"), "x").expect("file");
        assert!(!passes(of_run) && !passes(of_study) && !passes(of_analysis), "somebody's notes");
        fs::write(folder.join("run.json"), "x").expect("file");
        assert!(passes(of_run) && !passes(of_study), "notes beside a run");
        fs::create_dir(folder.join("01-study")).expect("folder");
        fs::write(folder.join("01-study/analysis.json"), "x").expect("file");
        assert!(passes(of_analysis), "one analysis of several");
    }
}
