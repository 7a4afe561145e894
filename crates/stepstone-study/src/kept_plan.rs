//! `plan.json`: the plan, kept beside the results, so that a command that only looks at a study reads neither encoder
//! nor data.

use crate::error::StudyError;
use crate::file::Study;
use crate::plan::{Plan, PlannedRun, PlannedTask};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use stepstone_files::{read_at_most, write_atomically};

/// Raised when a field changes meaning.
const FORMAT: u32 = 1;
/// Bytes of the longest plan that is read: those of a hundred thousand runs.
const LARGEST: u64 = 1 << 28;

#[derive(Serialize)]
struct Written<'a> {
    format: u32,
    key: String,
    tasks: &'a [PlannedTask],
    runs: &'a [PlannedRun],
}

#[derive(Deserialize)]
struct Found {
    format: u32,
    key: String,
    tasks: Vec<PlannedTask>,
    runs: Vec<PlannedRun>,
}

impl Plan {
    /// Writes `plan.json` into the folder of the results, which is created if needed.
    ///
    /// # Errors
    /// If the system refuses a write.
    pub fn keep(&self) -> Result<(), StudyError> {
        let path = path(&self.study);
        let written = Written { format: FORMAT, key: key(&self.study), tasks: &self.tasks, runs: &self.runs };
        let text = serde_json::to_string(&written).map_err(io::Error::other);
        let write = |text: String| {
            fs::create_dir_all(&self.study.folders.out)?;
            write_atomically(&path, format!("{text}\n").as_bytes())
        };
        text.and_then(write).map_err(StudyError::write(&path))
    }

    /// The plan that was kept for this study; None if it cannot be read, or if the study file, its paths or the program
    /// have changed since. Data and encoder are not checked: a run whose inputs have changed fails with an error that
    /// says so.
    pub fn kept(study: &Study) -> Option<Self> {
        let found: Found = serde_json::from_slice(&read_at_most(&path(study), LARGEST).ok()?).ok()?;
        // An index out of range would panic later, and a cycle of parents would never end.
        let fits = |(number, run): (usize, &PlannedRun)| {
            run.task < found.tasks.len() && run.parent.is_none_or(|parent| parent < number)
        };
        if found.format != FORMAT || found.key != key(study) || !found.runs.iter().enumerate().all(fits) {
            return None;
        }
        let Found { mut tasks, mut runs, .. } = found;
        for task in &mut tasks {
            // Sources are not written to JSON, so they are derived from the layers again.
            task.recipe.restore_sources(&task.layers).ok()?;
        }
        for run in &mut runs {
            run.record.identity.recipe.sources = tasks[run.task].recipe.sources.clone();
        }
        Some(Self { study: study.clone(), tasks, runs })
    }
}

fn path(study: &Study) -> PathBuf {
    study.folders.out.join("plan.json")
}

/// Digest of what a plan depends on, except the contents of encoder and data.
fn key(study: &Study) -> String {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.into());
    let paths = [&study.folders.model, &study.folders.data, &study.folders.store].map(|path| absolute(path));
    // The version is included, because another one may plan other runs for the same file. The folder of the results is
    // not: the plan itself lies there.
    let text = format!("{} {} {paths:?}", env!("CARGO_PKG_VERSION"), study.digest);
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::StudyPaths;

    const STUDY: &str = "[study]\nname = \"s\"\nmodel = \"m\"\ndata = \"unused\"\nrestarts = 2\n\n[tasks]\n\
                         intermediate = [\"sst2\"]\ntarget = [\"rte\"]\nprobe = [\"cola\"]\n\n[recipe]\nmax_length = 16\n\
                         max_steps = 7\n[task.rte]\nepochs = 2\nwarmup_steps = 1\n";

    fn study(folder: &Path) -> Study {
        fs::write(folder.join("study.toml"), STUDY).expect("file");
        stepstone_fixtures::copy_encoder(&folder.join("m"), &["a"]);
        read(folder)
    }

    fn read(folder: &Path) -> Study {
        let paths = StudyPaths { data: Some(stepstone_fixtures::tasks()), ..StudyPaths::default() };
        Study::read(&folder.join("study.toml"), &paths).expect("a study")
    }

    #[test]
    fn a_kept_plan_is_the_plan_even_when_encoder_and_data_are_gone() {
        let folder = tempfile::tempdir().expect("folder");
        let study = study(folder.path());
        assert!(Plan::kept(&study).is_none(), "nothing is kept yet");
        let plan = Plan::new(study.clone()).expect("plans");
        plan.keep().expect("keeps");
        fs::remove_dir_all(folder.path().join("m")).expect("the encoder's folder");
        let kept = Plan::kept(&study).expect("a kept plan");
        assert_eq!(kept.runs, plan.runs);
        assert_eq!(format!("{:?}", kept.tasks), format!("{:?}", plan.tasks));
    }

    #[test]
    fn an_edited_study_a_damaged_file_and_a_newer_format_are_planned_again() {
        let folder = tempfile::tempdir().expect("folder");
        let before = study(folder.path());
        Plan::new(before.clone()).and_then(|plan| plan.keep()).expect("keeps");
        let path = path(&before);
        let text = fs::read_to_string(&path).expect("plan.json");
        let damaged = [
            text[..text.len() / 2].to_owned(),
            text.replace("\"format\":1,\"key\"", "\"format\":2,\"key\""),
            text.replace("\"parent\":0", "\"parent\":99"),
            text.replace("\"task\":2,", "\"task\":3,"),
        ];
        for damaged in damaged {
            assert_ne!(damaged, text);
            fs::write(&path, damaged).expect("file");
            assert!(Plan::kept(&before).is_none());
        }
        fs::write(&path, text).expect("file");
        assert!(Plan::kept(&before).is_some());
        fs::write(folder.path().join("study.toml"), STUDY.replace("restarts = 2", "restarts = 3")).expect("file");
        assert!(Plan::kept(&read(folder.path())).is_none(), "edited");
    }
}
