//! Exit codes, and the one format of all errors.

use crate::remedy::{self, Setting};
use std::fmt;
use std::io;
use std::path::Path;
use stepstone_analysis::{InputError, Problem};
use stepstone_models::ModelError;
use stepstone_study::{StudyError, WorkerError, causes};
use stepstone_tasks::{DataError, TokenizerError};
use stepstone_train::{Layer, TrainError};

// From 64 on, the codes are those of sysexits.h, so that a script can tell a full disk from a typo. 1 stays for runs
// that failed although the command worked.
pub(crate) const OK: u8 = 0;
pub(crate) const FAILED: u8 = 1;
pub(crate) const USAGE: u8 = 64;
pub(crate) const DATA: u8 = 65;
pub(crate) const NO_INPUT: u8 = 66;
pub(crate) const SYSTEM: u8 = 71;
pub(crate) const CANNOT_CREATE: u8 = 73;
pub(crate) const IO: u8 = 74;
pub(crate) const WORK_LEFT: u8 = 75;
pub(crate) const PERMISSION: u8 = 77;
pub(crate) const CONFIG: u8 = 78;
// 128 and the number of the signal, as shells have it.
pub(crate) const INTERRUPTED: u8 = 130;
pub(crate) const TERMINATED: u8 = 143;

/// The meaning of each code. `stepstone --help` shows this table, and the README repeats it.
const TABLE: [(u8, &str); 13] = [
    (OK, "done"),
    (FAILED, "a run failed"),
    (USAGE, "wrong usage"),
    (DATA, "bad data"),
    (NO_INPUT, "input missing"),
    (SYSTEM, "refused by the system"),
    (CANNOT_CREATE, "output cannot be created"),
    (IO, "reading or writing failed"),
    (WORK_LEFT, "state saved, work left"),
    (PERMISSION, "no permission to read"),
    (CONFIG, "impossible value or unknown key"),
    (INTERRUPTED, "ended at once by a second Ctrl-C"),
    (TERMINATED, "ended at once by a second SIGTERM"),
];

/// The answer to signals of the commands that train; fits 80 columns.
const SIGNALS: &str = "Signals: `train`, `run` and `worker` save and stop on Ctrl-C, SIGTERM, SIGHUP, SIGUSR1\n\
                       and SIGUSR2. A second Ctrl-C or SIGTERM ends them at once.";

/// The exit codes, for `--help`.
pub(crate) fn table() -> String {
    let lines: Vec<String> = TABLE.iter().map(|(code, meaning)| format!("  {code:>3}  {meaning}")).collect();
    format!("Exit codes:\n{}\n\n{SIGNALS}", lines.join("\n"))
}

/// An error as it is shown to the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The exit code of the process.
    pub(crate) code: u8,
    /// The action that failed.
    what: String,
    /// The causes, outermost first.
    causes: Vec<String>,
    hint: Option<String>,
}

impl Failure {
    /// Standard output could not be written. If its reader has closed it, as `head` does, this is not an error.
    #[expect(clippy::needless_pass_by_value, reason = "map_err hands the error over")]
    pub(crate) fn output(error: io::Error) -> Self {
        let code = if error.kind() == io::ErrorKind::BrokenPipe { OK } else { IO };
        Self { code, what: "cannot write the output".into(), causes: vec![error.to_string()], hint: None }
    }

    /// A system call failed that does not concern the user's files.
    #[expect(clippy::needless_pass_by_value, reason = "map_err hands the error over")]
    pub(crate) fn system(error: io::Error) -> Self {
        Self { code: SYSTEM, what: "a system call failed".into(), causes: vec![error.to_string()], hint: None }
    }

    /// A run, or a command that uses one, failed. `setting` says where the user of the command sets recipe values.
    pub(crate) fn new(what: String, error: &TrainError, setting: &Setting) -> Self {
        Self { code: code(error), what, causes: causes(error), hint: remedy::of_run(error, setting) }
    }

    /// A study cannot be planned, run or read.
    pub(crate) fn study(what: String, error: &StudyError) -> Self {
        Self { code: study_code(error), what, causes: causes(error), hint: remedy::of_study(error, &[]) }
    }

    /// A run of a study failed; `layers` are the tables that its recipe is built from.
    pub(crate) fn job(what: String, error: &StudyError, layers: &[Layer]) -> Self {
        Self { hint: remedy::of_study(error, layers), ..Self::study(what, error) }
    }

    /// An observations file cannot be analysed.
    pub(crate) fn observations(what: String, error: &InputError) -> Self {
        Self { code: observations_code(&error.problem), what, causes: vec![error.to_string()], hint: error.hint() }
    }

    /// A file written by stepstone cannot be read back.
    pub(crate) fn data(what: String, cause: String) -> Self {
        Self { code: DATA, what, causes: vec![cause], hint: None }
    }

    /// Results of runs of the study in `file` are damaged, each told in a line.
    pub(crate) fn damaged(what: String, file: &Path, causes: Vec<String>) -> Self {
        let hint = format!("`stepstone run {}` makes damaged runs again", file.display());
        Self { code: DATA, what, causes, hint: Some(hint) }
    }

    /// A value on the command line does not fit the files.
    pub(crate) fn usage(what: String, hint: String) -> Self {
        Self { code: USAGE, what, causes: Vec::new(), hint: Some(hint) }
    }

    /// A file or folder of results cannot be written.
    pub(crate) fn write(path: &Path, error: &io::Error) -> Self {
        let what = format!("cannot write {}", path.display());
        Self { code: write_code(error), what, causes: vec![error.to_string()], hint: None }
    }

    /// Standard input could not be read.
    #[expect(clippy::needless_pass_by_value, reason = "map_err hands the error over")]
    pub(crate) fn input(error: io::Error) -> Self {
        let what = "cannot read standard input".to_owned();
        Self { code: read_code(&error), what, causes: vec![error.to_string()], hint: None }
    }

    /// None of the runs is there whose scores the results in `out` show. An unmounted disk leaves an empty folder.
    pub(crate) fn vanished(what: String, store: &Path, out: &Path) -> Self {
        let (store, results) = (store.display(), out.join("observations.csv"));
        let cause = format!("{store} holds no finished run, and {} has scores of them", results.display());
        let hint = format!(
            "if {store} lies on another disk, mount it; to begin anew, move {} away: what is there is kept",
            results.display()
        );
        Self { code: NO_INPUT, what, causes: vec![cause], hint: Some(hint) }
    }

    /// A folder for results holds something else, for example `found`.
    pub(crate) fn occupied(what: String, folder: &Path, found: &Path) -> Self {
        let (folder, found) = (folder.display(), found.display());
        let cause = format!("{folder} holds `{found}`, expected an empty or new folder, or an earlier result");
        let hint = "choose another folder: results are not written among other files".to_owned();
        Self { code: CANNOT_CREATE, what, causes: vec![cause], hint: Some(hint) }
    }

    /// The causes in one line.
    pub(crate) fn reason(&self) -> String {
        self.causes.join(": ")
    }

    /// How to fix it, if there is advice to give.
    pub(crate) fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}

/// Converts a failure so that a worker can send it to its watcher; the other direction is below.
impl From<Failure> for WorkerError {
    fn from(failure: Failure) -> Self {
        let Failure { code, what, causes, hint } = failure;
        Self { code, what, causes, hint }
    }
}

impl From<WorkerError> for Failure {
    fn from(error: WorkerError) -> Self {
        let WorkerError { code, what, causes, hint } = error;
        Self { code, what, causes, hint }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error: {}", self.what)?;
        // A cause may have several lines, such as a list of bad rows; each gets the prefix.
        for cause in self.causes.iter().flat_map(|cause| cause.lines()) {
            writeln!(f, "  cause: {cause}")?;
        }
        match &self.hint {
            Some(hint) => writeln!(f, "  hint: {hint} (exit code {})", self.code),
            None => writeln!(f, "  (exit code {})", self.code),
        }
    }
}

fn study_code(error: &StudyError) -> u8 {
    match error {
        StudyError::Train(error) => code(error),
        StudyError::Recipe { source, .. } => code(source),
        StudyError::Missing { .. } | StudyError::Folder { .. } => NO_INPUT,
        StudyError::Read { source, .. } => read_code(source),
        StudyError::File { .. } | StudyError::Edited { .. } => CONFIG,
        // The data or the encoder have changed since the study was planned.
        StudyError::Changed { .. } => DATA,
        StudyError::Create { source, .. } => {
            if out_of_space(source) {
                IO
            } else {
                CANNOT_CREATE
            }
        }
        StudyError::Exists { .. } | StudyError::Busy { .. } | StudyError::NoHardLinks { .. } => CANNOT_CREATE,
        StudyError::Write { source, .. } => write_code(source),
        StudyError::Memory { .. } | StudyError::Spawn { .. } => SYSTEM,
        // The code of the run's process is passed on, so that a full disk gives 74 in a run as well as in a worker.
        StudyError::Process { code, .. } => u8::try_from(*code).unwrap_or(FAILED),
    }
}

fn out_of_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn code(error: &TrainError) -> u8 {
    match error {
        TrainError::Model(error) => model_code(error),
        TrainError::Data(error) => data_code(error),
        TrainError::Tokenizer(TokenizerError::Missing { .. })
        | TrainError::MissingRun { .. }
        | TrainError::NoRun { .. }
        | TrainError::Unfinished { .. } => NO_INPUT,
        TrainError::SeveralRuns { .. } | TrainError::Task(_) => USAGE,
        TrainError::Tokenizer(TokenizerError::Corrupt { .. } | TokenizerError::Setting { .. })
        | TrainError::Vocabulary { .. }
        | TrainError::Logits { .. }
        | TrainError::Rows { .. }
        | TrainError::BadRun { .. }
        // Whatever is wrong with it in detail: nobody is asked to bring a file that only training makes.
        | TrainError::DamagedModel(_)
        | TrainError::Newer { .. } => DATA,
        TrainError::Start { source, .. } => code(source),
        TrainError::Read { source, .. } | TrainError::Tokenizer(TokenizerError::Read { source, .. }) => {
            read_code(source)
        }
        // Nothing is wrong: the other worker finishes this run, and more work may be left.
        TrainError::Lost { .. } => WORK_LEFT,
        TrainError::Recipe { .. } | TrainError::Tokenizer(TokenizerError::TooShort { .. }) => CONFIG,
        TrainError::NotFinite { .. } => FAILED,
        TrainError::OtherRun { .. } | TrainError::Create { .. } => CANNOT_CREATE,
        TrainError::Write { source, .. } => write_code(source),
        TrainError::Threads { .. } => SYSTEM,
    }
}

fn model_code(error: &ModelError) -> u8 {
    match error {
        ModelError::Missing { .. } => NO_INPUT,
        ModelError::Corrupt { .. } | ModelError::Tensor { .. } => DATA,
        ModelError::Config { .. } => CONFIG,
        ModelError::Read { source, .. } => read_code(source),
        ModelError::Write { source, .. } => write_code(source),
        ModelError::NotEmpty { .. } => CANNOT_CREATE,
    }
}

fn data_code(error: &DataError) -> u8 {
    match error {
        DataError::NoFolder { .. }
        | DataError::NoFile { .. }
        | DataError::NoData { .. }
        | DataError::Missing { .. }
        | DataError::Folder { .. } => NO_INPUT,
        DataError::Packed { .. }
        | DataError::TooLarge { .. }
        | DataError::NotText { .. }
        | DataError::NotUtf8 { .. }
        | DataError::NoRows { .. }
        | DataError::BadRows { .. } => DATA,
        DataError::DevFiles { .. } | DataError::Settings { .. } => CONFIG,
        DataError::Read { source, .. } => read_code(source),
    }
}

fn observations_code(problem: &Problem) -> u8 {
    match problem {
        Problem::Open { source } => match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => NO_INPUT,
            _ => read_code(source),
        },
        _ => DATA,
    }
}

fn read_code(error: &io::Error) -> u8 {
    // A missing file has an error of its own, so what is left besides permissions is a disk or network that fails.
    if error.kind() == io::ErrorKind::PermissionDenied { PERMISSION } else { IO }
}

fn write_code(error: &io::Error) -> u8 {
    match error.kind() {
        // Another folder solves each of these, unlike a full or failing disk.
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::ReadOnlyFilesystem
        | io::ErrorKind::AlreadyExists
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::NotFound => CANNOT_CREATE,
        _ => IO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_has_the_table_of_exit_codes() {
        let readme = include_str!("../../../README.md").split_whitespace().collect::<Vec<_>>().join(" ");
        let codes: Vec<String> = TABLE.iter().map(|(code, meaning)| format!("{code} {meaning}")).collect();
        let sentence = format!("Exit codes: {}.", codes.join("; "));
        assert!(readme.contains(&sentence), "README.md lacks: {sentence}");
    }

    #[test]
    fn a_failure_of_a_worker_arrives_unchanged_and_says_error_once() {
        let cause = io::Error::from(io::ErrorKind::StorageFull);
        let failure = Failure::write(Path::new("runs/log.jsonl"), &cause);
        let arrived = Failure::from(WorkerError::from(failure.clone()));
        assert_eq!(arrived, failure);
        assert_eq!(arrived.to_string().matches("error:").count(), 1, "{arrived}");
    }

    #[test]
    fn a_cause_that_is_already_in_the_message_is_not_repeated() {
        use std::error::Error;
        #[derive(Debug)]
        struct Said(io::Error);
        impl fmt::Display for Said {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "cannot read a.csv: {}", self.0)
            }
        }
        impl Error for Said {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(&self.0)
            }
        }
        let said = Said(io::Error::other("the disk is gone"));
        assert_eq!(causes(&said), ["cannot read a.csv: the disk is gone"]);
    }

    #[test]
    fn a_pipe_closed_by_its_reader_is_not_a_failure() {
        assert_eq!(Failure::output(io::ErrorKind::BrokenPipe.into()).code, OK);
        assert_eq!(Failure::output(io::ErrorKind::StorageFull.into()).code, IO);
    }
}
