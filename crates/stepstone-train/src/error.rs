//! Errors of preparing, training and using a run.

use std::io;
use std::path::{Path, PathBuf};
use stepstone_models::ModelError;
use stepstone_tasks::{DataError, TokenizerError, UnknownTask};

/// Each error says where, what was found and what was expected.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum TrainError {
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    #[error(transparent)]
    Task(#[from] UnknownTask),
    #[error("`{key}` is {found}, expected {expected}")]
    Recipe { key: &'static str, found: String, expected: String },
    #[error(
        "{}: the tokenizer gives token `{token}` the id {id} in example `{example}`, expected an id below vocab_size {vocab_size}",
        folder.display()
    )]
    Vocabulary { folder: PathBuf, example: String, id: u32, token: String, vocab_size: usize },
    #[error("{found} at step {step}; last gradient norms: {norms:?}")]
    NotFinite { step: u64, found: String, norms: Vec<f64> },
    #[error("{}: {found}, expected finite numbers", model.display())]
    Logits { model: PathBuf, found: String },
    #[error("{}: {found}, expected rows with fewer choices", file.display())]
    Rows { file: PathBuf, found: String },
    #[error("run {id} has been taken over by another worker: nothing more is written")]
    Lost { id: String },
    #[error("{} has no run.json, expected the folder of a run", path.display())]
    MissingRun { path: PathBuf },
    #[error("there is no run `{name}`: it is not a folder, and no id in {} starts with it", store.display())]
    NoRun { name: String, store: PathBuf },
    #[error("prefix `{name}` matches {} runs, expected one: {}", found.len(), list(found))]
    SeveralRuns { name: String, found: Vec<PathBuf> },
    #[error("{} is not finished, expected a run with scores.json", run.display())]
    Unfinished { run: PathBuf },
    #[error("{} holds another run, {found}", path.display())]
    OtherRun { path: PathBuf, found: String },
    #[error("{}: {found}, expected {expected}", path.display())]
    BadRun { path: PathBuf, found: String, expected: String },
    #[error("{}: {found}, expected {expected}", path.display())]
    Newer { path: PathBuf, found: String, expected: String },
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error(transparent)]
    DamagedModel(Box<Self>),
    #[error("cannot start from the model of run {run}")]
    Start { run: String, source: Box<Self> },
    #[error("cannot create {}", path.display())]
    Create { path: PathBuf, source: io::Error },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot start {threads} threads")]
    Threads { threads: usize, source: io::Error },
}

impl TrainError {
    /// The recipe key to change, if one is at fault. Where a user sets it depends on the command.
    pub fn key(&self) -> Option<&'static str> {
        match self {
            Self::Recipe { key, .. } => Some(key),
            Self::Tokenizer(TokenizerError::TooShort { .. }) => Some("max_length"),
            // A loss that is not finite has several causes; a learning rate that is too large is the commonest.
            Self::NotFinite { .. } => Some("learning_rate"),
            Self::Model(_)
            | Self::Data(_)
            | Self::Tokenizer(
                TokenizerError::Missing { .. }
                | TokenizerError::Read { .. }
                | TokenizerError::Corrupt { .. }
                | TokenizerError::Setting { .. },
            )
            | Self::Task(_)
            | Self::Vocabulary { .. }
            | Self::Logits { .. }
            | Self::Rows { .. }
            | Self::Lost { .. }
            | Self::MissingRun { .. }
            | Self::NoRun { .. }
            | Self::SeveralRuns { .. }
            | Self::Unfinished { .. }
            | Self::OtherRun { .. }
            | Self::BadRun { .. }
            | Self::Newer { .. }
            | Self::Read { .. }
            | Self::DamagedModel(_)
            | Self::Create { .. }
            | Self::Write { .. }
            | Self::Start { .. }
            | Self::Threads { .. } => None,
        }
    }

    /// What to do about it, if there is advice that holds for every command.
    pub fn hint(&self) -> Option<String> {
        if let Some((path, error)) = self.refused_read()
            && let Some(hint) = read_hint(path, error)
        {
            return Some(hint);
        }
        match self {
            Self::Model(ModelError::Write { source, .. }) | Self::Write { source, .. } => {
                write_hint(source).map(String::from)
            }
            Self::Create { source, .. } => Some(write_hint(source).unwrap_or(NAME_ANOTHER_FOLDER).into()),
            Self::Model(error) => error.hint(),
            Self::Data(error) => error.hint(),
            Self::Task(error) => Some(error.hint()),
            Self::Tokenizer(error) => error.hint(),
            Self::Vocabulary { .. } => Some("tokenizer files and weights must come from the same model".into()),
            Self::NotFinite { .. } => {
                Some("log.jsonl has the steps before this one; a smaller learning rate may help".into())
            }
            Self::Logits { .. } => {
                Some("its weights are too large: train the task again with a smaller learning_rate".into())
            }
            Self::OtherRun { path, .. } => Some(format!("choose another folder, or move {} away", path.display())),
            Self::BadRun { .. } | Self::DamagedModel(_) => {
                Some("run the command that trained it again: it restores damaged files".into())
            }
            Self::Newer { path, .. } => Some(format!(
                "use the version of stepstone that wrote it; to train the run again with this version, move {} away",
                path.parent().unwrap_or(path).display()
            )),
            Self::Start { run, .. } => Some(format!(
                "`stepstone run` trains run {run} again if its model is damaged, then the runs that start from it"
            )),
            Self::Recipe { .. } | Self::Lost { .. } | Self::Rows { .. } | Self::Read { .. } => None,
            Self::Threads { .. } => Some("try fewer threads".into()),
            Self::MissingRun { .. } | Self::NoRun { .. } => {
                Some("give the folder that `stepstone train` printed, or the first characters of its id".into())
            }
            Self::SeveralRuns { .. } => Some("give more characters of the id".into()),
            Self::Unfinished { .. } => {
                Some("run the command that trained it again: it continues where it stopped".into())
            }
        }
    }

    /// The system's refusal to write, if that is what it was.
    pub fn refused_write(&self) -> Option<&io::Error> {
        let (Self::Write { source, .. } | Self::Create { source, .. } | Self::Model(ModelError::Write { source, .. })) =
            self
        else {
            return None;
        };
        Some(source)
    }

    /// The system's refusal to read a file of an encoder or a run, if that is what it was.
    fn refused_read(&self) -> Option<(&Path, &io::Error)> {
        if let Self::Start { source, .. } = self {
            return source.refused_read();
        }
        let (Self::Read { path, source }
        | Self::Model(ModelError::Read { path, source })
        | Self::Tokenizer(TokenizerError::Read { path, source })) = self
        else {
            return None;
        };
        Some((path, source))
    }

    pub(crate) fn write(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::Write { path: path.into(), source }
    }
}

const NAME_ANOTHER_FOLDER: &str = "choose a folder that you may write to";

/// What to do about a write that the system refused; None if there is no general advice.
pub fn write_hint(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Some("free some space and run the same command again: it continues from the saved state")
        }
        io::ErrorKind::FileTooLarge => Some(
            "raise the limit on file sizes (`ulimit -f`) and run the same command again: it continues from the saved state",
        ),
        io::ErrorKind::PermissionDenied => Some("make its folder writable, or name another one"),
        io::ErrorKind::ReadOnlyFilesystem => Some(NAME_ANOTHER_FOLDER),
        io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            Some("move away what stands in its place, and run the same command again")
        }
        _ => None,
    }
}

/// What to do about a read of `path` that the system refused; None if there is no general advice.
pub fn read_hint(path: &Path, error: &io::Error) -> Option<String> {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            Some(format!("make {path} and its folder readable, and run the same command again"))
        }
        io::ErrorKind::IsADirectory => {
            Some(format!("a file belongs there: move the folder {path} away, and run the same command again"))
        }
        _ => None,
    }
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
