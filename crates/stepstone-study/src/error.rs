//! Errors of planning, running and reading a study.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use stepstone_train::{TrainError, read_hint, write_hint};

/// Each error says where, what was found and what was expected.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum StudyError {
    #[error(transparent)]
    Train(#[from] TrainError),
    #[error("{} does not exist, expected a study file", path.display())]
    Missing { path: PathBuf },
    #[error("{} is a folder, expected a study file", path.display())]
    Folder { path: PathBuf },
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}:{line}:{column}: {problem}", path.display())]
    File { path: PathBuf, line: usize, column: usize, problem: String, hint: Option<String> },
    #[error("invalid recipe for {task}")]
    Recipe { task: String, table: String, source: Box<TrainError> },
    #[error("{} has been edited since this worker started", path.display())]
    Edited { path: PathBuf },
    #[error("the data or the encoder of run {planned} has changed since the study was planned: its id is now {found}")]
    Changed { planned: String, found: String },
    #[error("cannot create {}", path.display())]
    Create { path: PathBuf, source: io::Error },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{} already exists", path.display())]
    Exists { path: PathBuf },
    #[error("a run of {task} needs about {need_mib} MiB of memory, but only {available_mib} MiB are available")]
    Memory { task: String, need_mib: u64, available_mib: u64, hint: String },
    #[error("cannot start a process for run {id}")]
    Spawn { id: String, source: io::Error },
    #[error("{} is on a file system without hard links, and leases need them", folder.display())]
    NoHardLinks { folder: PathBuf, source: io::Error },
    #[error("process {pid} on {host} is training in {}", folder.display())]
    Busy { folder: PathBuf, host: String, pid: u32 },
    #[error("run {id}: {reason}")]
    Process { id: String, code: i32, reason: String, hint: Option<String> },
}

impl StudyError {
    /// What to do about it, if there is advice that holds for every command.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Train(error) => error.hint(),
            Self::Recipe { source, .. } => source.hint(),
            Self::Missing { .. } => Some("`stepstone init` writes a study file to start from".into()),
            Self::Folder { path } => {
                Some(format!("name the file in it, such as {}", path.join("study.toml").display()))
            }
            Self::File { hint, .. } | Self::Process { hint, .. } => hint.clone(),
            Self::Edited { .. } => Some("start it again to use the edited file; finished runs are kept".into()),
            Self::Changed { .. } => Some("start it again to plan the study with the current files".into()),
            Self::Busy { .. } => Some("wait until it ends, or choose another folder".into()),
            Self::NoHardLinks { .. } => {
                Some("name a folder on another disk: local Linux file systems and NFS have hard links".into())
            }
            Self::Exists { .. } => Some("choose another folder, or remove it first".into()),
            Self::Memory { hint, .. } => Some(hint.clone()),
            Self::Create { source, .. } => {
                Some(write_hint(source).unwrap_or("choose a folder that you may write to").into())
            }
            Self::Write { source, .. } => write_hint(source).map(str::to_owned),
            Self::Read { path, source } => read_hint(path, source),
            Self::Spawn { .. } => None,
        }
    }

    /// Whether every run would meet this error, as it does when the disk is full. Any other error concerns one run and
    /// the runs that start from it.
    pub fn stops_every_run(&self) -> bool {
        match self {
            Self::Create { source, .. } | Self::Write { source, .. } => !lies_in_a_folder(source),
            Self::Train(error) => error.refused_write().is_some_and(|source| !lies_in_a_folder(source)),
            Self::Edited { .. }
            | Self::NoHardLinks { .. }
            | Self::Spawn { .. }
            | Self::Memory { .. }
            | Self::Process { .. } => true,
            Self::Missing { .. }
            | Self::Folder { .. }
            | Self::Read { .. }
            | Self::File { .. }
            | Self::Recipe { .. }
            | Self::Changed { .. }
            | Self::Exists { .. }
            | Self::Busy { .. } => false,
        }
    }

    pub(crate) fn write(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::Write { path: path.into(), source }
    }
}

/// Whether a write was refused for what stands in its folder; a store that refuses every write has been found before.
fn lies_in_a_folder(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::PermissionDenied
            | ErrorKind::NotFound
            | ErrorKind::AlreadyExists
            | ErrorKind::IsADirectory
            | ErrorKind::NotADirectory
            | ErrorKind::DirectoryNotEmpty
    )
}

/// An error and its causes, outermost first. A cause that the message above it already contains is left out.
pub fn causes(error: &dyn Error) -> Vec<String> {
    let mut causes = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        // Some library errors include the text of their source in their own.
        if causes.last().is_none_or(|said| !said.contains(&text)) {
            causes.push(text);
        }
        source = cause.source();
    }
    causes
}
