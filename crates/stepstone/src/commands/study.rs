//! Arguments and results that all study commands share: the study file, and the paths that override those in the file.

use crate::destination;
use crate::exit::{self, Failure};
use std::path::PathBuf;
use stepstone_study::{Counts, Plan, PlannedTask, Study, StudyError, StudyPaths, too_short};

/// A study and where its parts lie.
#[derive(clap::Args)]
pub(crate) struct StudyArgs {
    /// Study file
    pub(crate) study: PathBuf,
    /// Folder of the pretrained encoder; overrides the study file
    #[arg(long)]
    pub(crate) model: Option<PathBuf>,
    /// Folder that holds one folder per task; overrides the study file
    #[arg(long)]
    pub(crate) data: Option<PathBuf>,
    /// Folder of the results; overrides the study file
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
}

impl StudyArgs {
    /// Reads the study, its encoder and its data. `what` names the failed action in an error.
    pub(crate) fn plan(&self, what: &str) -> Result<Plan, Failure> {
        self.read().and_then(Plan::new).map_err(self.failure(what))
    }

    /// Plans for a command that writes results: refuses a folder with other contents, and stores the plan there.
    pub(crate) fn plan_to_write(&self, what: &str) -> Result<Plan, Failure> {
        let plan = self.plan(what)?;
        self.check_destination(what, &plan)?;
        // The stored plan only saves reading. If it cannot be written, neither can the first result, which reports it.
        let _ = plan.keep();
        Ok(plan)
    }

    /// The plan that an earlier command stored, which saves reading encoder and data; if there is none, a new plan.
    pub(crate) fn kept_plan(&self, what: &str) -> Result<Plan, Failure> {
        let study = self.read().map_err(self.failure(what))?;
        Plan::kept(&study).map_or_else(|| Plan::new(study), Ok).map_err(self.failure(what))
    }

    /// The stored plan for a command that writes results.
    pub(crate) fn kept_plan_to_write(&self, what: &str) -> Result<Plan, Failure> {
        let plan = self.kept_plan(what)?;
        self.check_destination(what, &plan)?;
        Ok(plan)
    }

    fn check_destination(&self, what: &str, plan: &Plan) -> Result<(), Failure> {
        destination::check(&format!("{what} {}", self.study.display()), &plan.study.folders.out, destination::of_study)
    }

    fn read(&self) -> Result<Study, StudyError> {
        let paths = StudyPaths { model: self.model.clone(), data: self.data.clone(), out: self.out.clone() };
        Study::read(&self.study, &paths)
    }

    pub(crate) fn failure(&self, what: &str) -> impl Fn(StudyError) -> Failure + use<> {
        let what = format!("{what} {}", self.study.display());
        move |error| Failure::study(what.clone(), &error)
    }

    /// These arguments for another process.
    pub(crate) fn to_arguments(&self) -> Vec<PathBuf> {
        // Only what the user typed is passed on; the worker reads the rest from the same study file.
        let flags = [("--model", &self.model), ("--data", &self.data), ("--out", &self.out)];
        let given = flags.into_iter().filter_map(|(flag, path)| Some([PathBuf::from(flag), path.clone()?]));
        std::iter::once(self.study.clone()).chain(given.flatten()).collect()
    }
}

/// The exit code for the state of a study. Work left (75) wins over failures: a script that repeats the command while
/// the code is 75 trains every run that can be trained, and learns of failures at the end.
pub(crate) fn exit_code(counts: Counts) -> u8 {
    if counts.waiting + counts.running > 0 {
        exit::WORK_LEFT
    } else if counts.failed > 0 {
        exit::FAILED
    } else {
        exit::OK
    }
}

/// A warning about runs so short that they are likely to learn nothing; None if there are no such runs.
pub(crate) fn warning(plan: &Plan) -> Option<String> {
    let short = too_short(plan);
    let one = |(task, steps, needed): &(&PlannedTask, u64, u64)| {
        format!("{} as {} ({steps} of about {needed} steps)", task.task.name, task.role)
    };
    let list: Vec<String> = short.iter().map(one).collect();
    (!short.is_empty()).then(|| {
        format!(
            "warning: too few steps: runs this short usually predict one label for every example: {}\n  hint: raise epochs, \
             max_train or learning_rate; docs/results/collapse.md says where the numbers come from",
            list.join(", ")
        )
    })
}
