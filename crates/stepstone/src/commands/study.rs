//! What the commands on a study share: its file, the paths that replace those of the file, and its results.

use crate::destination;
use crate::exit::Failure;
use std::path::PathBuf;
use stepstone_study::{Plan, Study, StudyPaths};

/// A study and where its parts lie.
#[derive(clap::Args)]
pub(crate) struct StudyArgs {
    /// Study file
    pub(crate) study: PathBuf,
    /// Folder of the pretrained encoder, instead of the file's
    #[arg(long)]
    pub(crate) model: Option<PathBuf>,
    /// Folder that holds one folder per task, instead of the file's
    #[arg(long)]
    pub(crate) data: Option<PathBuf>,
    /// Folder of the results, instead of the file's
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
}

impl StudyArgs {
    /// Reads the study, its encoder and its data. `what` is what cannot be done if that fails.
    pub(crate) fn plan(&self, what: &str) -> Result<Plan, Failure> {
        let paths = StudyPaths { model: self.model.clone(), data: self.data.clone(), out: self.out.clone() };
        let plan = Study::read(&self.study, &paths).and_then(Plan::new);
        plan.map_err(|error| Failure::study(format!("{what} {}", self.study.display()), &error))
    }

    /// The same for a command that writes results: their folder must not hold something else.
    pub(crate) fn plan_to_write(&self, what: &str) -> Result<Plan, Failure> {
        let plan = self.plan(what)?;
        destination::check(&format!("{what} {}", self.study.display()), &plan.study.out, destination::of_study)?;
        Ok(plan)
    }

    /// The same arguments, for another process.
    pub(crate) fn to_arguments(&self) -> Vec<PathBuf> {
        let flags = [("--model", &self.model), ("--data", &self.data), ("--out", &self.out)];
        let given = flags.into_iter().filter_map(|(flag, path)| Some([PathBuf::from(flag), path.clone()?]));
        std::iter::once(self.study.clone()).chain(given.flatten()).collect()
    }
}
