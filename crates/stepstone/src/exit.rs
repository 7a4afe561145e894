//! Exit codes and the one form in which every error is printed.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;
use stepstone_analysis::{InputError, Problem};
use stepstone_models::ModelError;
use stepstone_study::StudyError;
use stepstone_tasks::{DataError, TokenizerError};
use stepstone_train::TrainError;

/// Done.
pub(crate) const OK: u8 = 0;
/// A run failed.
pub(crate) const FAILED: u8 = 1;
/// Wrong usage.
pub(crate) const USAGE: u8 = 64;
/// Bad data: a bad row, an unknown label, corrupt or mismatched weights.
pub(crate) const DATA: u8 = 65;
/// An input is missing.
pub(crate) const NO_INPUT: u8 = 66;
/// The system refused something.
pub(crate) const SYSTEM: u8 = 71;
/// An output cannot be created.
pub(crate) const CANNOT_CREATE: u8 = 73;
/// Reading or writing failed, for example on a full disk.
pub(crate) const IO: u8 = 74;
/// The state is saved, work is left.
pub(crate) const WORK_LEFT: u8 = 75;
/// No permission to read.
pub(crate) const PERMISSION: u8 = 77;
/// An impossible value of a setting.
pub(crate) const CONFIG: u8 = 78;

/// An error on its way to the terminal.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The process's exit code.
    pub(crate) code: u8,
    /// What could not be done.
    what: String,
    /// Why, outermost cause first.
    causes: Vec<String>,
    hint: Option<String>,
}

impl Failure {
    /// Standard output could not be written. A reader that has closed it, such as `head`, has seen enough: no error.
    #[expect(clippy::needless_pass_by_value, reason = "map_err hands the error over")]
    pub(crate) fn output(error: io::Error) -> Self {
        let code = if error.kind() == io::ErrorKind::BrokenPipe { OK } else { IO };
        Self { code, what: "cannot write the output".into(), causes: vec![error.to_string()], hint: None }
    }

    /// The system refused something that has nothing to do with the user's files.
    #[expect(clippy::needless_pass_by_value, reason = "map_err hands the error over")]
    pub(crate) fn system(error: io::Error) -> Self {
        Self { code: SYSTEM, what: "cannot listen for signals".into(), causes: vec![error.to_string()], hint: None }
    }

    /// A run or a use of one failed.
    pub(crate) fn new(what: String, error: &TrainError) -> Self {
        Self { code: code(error), what, causes: causes(error), hint: error.hint() }
    }

    /// A study cannot be planned, run or read.
    pub(crate) fn study(what: String, error: &StudyError) -> Self {
        Self { code: study_code(error), what, causes: causes(error), hint: error.hint() }
    }

    /// An observations file cannot be analysed.
    pub(crate) fn observations(what: String, error: &InputError) -> Self {
        Self { code: observations_code(&error.problem), what, causes: vec![error.to_string()], hint: error.hint() }
    }

    /// A file of ours that cannot be read back.
    pub(crate) fn data(what: String, cause: String) -> Self {
        Self { code: DATA, what, causes: vec![cause], hint: None }
    }

    /// A choice on the command line that does not fit the files.
    pub(crate) fn usage(what: String, hint: String) -> Self {
        Self { code: USAGE, what, causes: Vec::new(), hint: Some(hint) }
    }

    /// A file or folder of results cannot be written.
    pub(crate) fn write(path: &Path, error: &io::Error) -> Self {
        let what = format!("cannot write {}", path.display());
        Self { code: write_code(error), what, causes: vec![error.to_string()], hint: None }
    }

    /// A worker could not go on; `message` is its own, ready to be printed.
    pub(crate) fn worker(code: u8, message: String) -> Self {
        Self { code, what: message, causes: Vec::new(), hint: None }
    }

    /// The causes in one line.
    pub(crate) fn reason(&self) -> String {
        self.causes.join(": ")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error: {}", self.what)?;
        for cause in self.causes.iter().flat_map(|cause| cause.lines()) {
            writeln!(f, "  cause: {cause}")?;
        }
        match &self.hint {
            Some(hint) => writeln!(f, "  hint: {hint} (exit code {})", self.code),
            None => writeln!(f, "  (exit code {})", self.code),
        }
    }
}

/// An error and what caused it, outermost first.
fn causes(error: &dyn Error) -> Vec<String> {
    let mut causes = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        causes.push(cause.to_string());
        source = cause.source();
    }
    causes
}

fn study_code(error: &StudyError) -> u8 {
    match error {
        StudyError::Train(error) => code(error),
        StudyError::Recipe { source, .. } => code(source),
        StudyError::Missing { .. } => NO_INPUT,
        StudyError::Read { source, .. } => read_code(source),
        StudyError::File { .. } | StudyError::Edited { .. } => CONFIG,
        StudyError::Changed { .. } => DATA,
        StudyError::Create { source, .. } => {
            if out_of_space(source) {
                IO
            } else {
                CANNOT_CREATE
            }
        }
        StudyError::Exists { .. } | StudyError::Busy { .. } => CANNOT_CREATE,
        StudyError::Write { source, .. } => write_code(source),
        StudyError::Memory { .. } | StudyError::Spawn { .. } => SYSTEM,
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
        | TrainError::Newer { .. } => DATA,
        TrainError::DamagedModel(source) => code(source),
        TrainError::Read { source, .. } | TrainError::Tokenizer(TokenizerError::Read { source, .. }) => {
            read_code(source)
        }
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
    if error.kind() == io::ErrorKind::PermissionDenied { PERMISSION } else { IO }
}

fn write_code(error: &io::Error) -> u8 {
    match error.kind() {
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::ReadOnlyFilesystem
        | io::ErrorKind::AlreadyExists
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::NotFound => CANNOT_CREATE,
        _ => IO,
    }
}
