//! Small studies over a tiny encoder and the made-up tasks, for the tests of this crate.

use crate::file::{Study, StudyPaths};
use crate::plan::Plan;
use std::fs;
use std::path::Path;

/// A study in `folder`, in a file of that name: intermediates sst2 and mnli with two restarts, target rte with three
/// restarts of its baseline. `also` goes into `[tasks]`, `recipe` after the values of all tasks.
pub(crate) fn study(folder: &Path, file: &str, also: &str, recipe: &str) -> Study {
    let text = format!(
        "[study]\nname = \"s\"\nmodel = \"m\"\ndata = \"unused\"\nrestarts = 2\nbaseline_restarts = 3\n\
         [tasks]\nintermediate = [\"sst2\", \"mnli\"]\ntarget = [\"rte\"]\n{also}\n\
         [recipe]\nmax_length = 16\nmax_steps = 7\n{recipe}\n"
    );
    fs::create_dir_all(folder).expect("folder");
    fs::write(folder.join(file), text).expect("file");
    stepstone_fixtures::copy_encoder(&folder.join("m"), &["a"]);
    let paths = StudyPaths { data: Some(stepstone_fixtures::tasks()), ..StudyPaths::default() };
    Study::read(&folder.join(file), &paths).expect("a study")
}

/// The plan of that study. Its encoder no longer exists, because a plan holds everything that it needs.
pub(crate) fn plan(also: &str, recipe: &str) -> Plan {
    let place = tempfile::tempdir().expect("folder");
    Plan::new(study(place.path(), "study.toml", also, recipe)).expect("plans")
}
