//! Errors of data files.

use crate::foreign::{Compression, Damage, Foreign, remedy};
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Number of bad rows that an error lists. The rest are only counted, because one wrong layout makes every row bad.
const SHOWN: usize = 10;

/// A row that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRow {
    /// The file.
    pub path: PathBuf,
    /// Line number, from 1.
    pub line: usize,
    /// What was found and what was expected.
    pub problem: String,
}

/// An error names the place, what was found, and what was expected.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum DataError {
    #[error("{} has no folder {}", data.display(), one_of(tried))]
    NoFolder { task: &'static str, data: PathBuf, tried: Vec<String> },
    #[error("{} has no file {}", folder.display(), one_of(tried))]
    NoFile { folder: PathBuf, tried: Vec<String> },
    #[error("{} does not exist, expected a folder that holds one folder per task", data.display())]
    NoData { task: &'static str, data: PathBuf },
    #[error("{} does not exist, expected a file of rows", path.display())]
    Missing { path: PathBuf },
    #[error("{} is a folder, expected a file of rows", path.display())]
    Folder { path: PathBuf },
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}: the {compression} data {damage}, expected a complete file", path.display())]
    Packed { path: PathBuf, compression: Compression, damage: Damage },
    #[error("{}: more than {} MiB of text, expected at most that", path.display(), most >> 20)]
    TooLarge { path: PathBuf, most: u64 },
    #[error("{}: {found}, expected rows of UTF-8 text", path.display())]
    NotText { path: PathBuf, found: Foreign },
    #[error("{}:{line}: byte 0x{byte:02x} at offset {offset} is not valid UTF-8, expected UTF-8 text", path.display())]
    NotUtf8 { path: PathBuf, line: usize, offset: usize, byte: u8 },
    #[error("{}: no rows, expected at least one", path.display())]
    NoRows { path: PathBuf },
    #[error("task {task} has {found} dev files, expected {}", one_or(*expected))]
    DevFiles { task: &'static str, found: usize, expected: usize },
    #[error("{}:{line}:{column}: {problem}", path.display())]
    Settings { path: PathBuf, line: usize, column: usize, problem: String },
    #[error("{}", BadRows(rows))]
    BadRows { rows: Vec<BadRow> },
}

impl DataError {
    /// How to fix it, if there is advice to give.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoData { task, .. } | Self::NoFolder { task, .. } => {
                Some(format!("name the folder that holds one folder per task, such as `{task}/`"))
            }
            Self::NoFile { .. } | Self::NoRows { .. } => {
                Some("copy the official files of the task into the folder".into())
            }
            Self::Packed { .. } => Some("copy or download it again, and compare it with its published checksum".into()),
            Self::NotText { found, .. } => Some(remedy(*found).into()),
            Self::NotUtf8 { .. } => {
                Some("if it is in an older encoding, convert it: `iconv -f WINDOWS-1252 -t UTF-8 FILE`".into())
            }
            Self::BadRows { .. } => Some("correct the rows, or compare the file with its published checksum".into()),
            Self::Missing { .. } | Self::Folder { .. } => {
                Some("name a file in the layout of the task's own files, plain or compressed with gzip or zstd".into())
            }
            Self::Settings { .. } | Self::DevFiles { .. } => Some(
                "write for each task: [task.NAME] files = { train = \"PATH\", dev = \"PATH\" }, relative to the data"
                    .into(),
            ),
            Self::TooLarge { .. } => Some("keep fewer rows; `max_train` uses a part of them in any case".into()),
            Self::Read { .. } => None,
        }
    }
}

struct BadRows<'a>(&'a [BadRow]);

impl fmt::Display for BadRows<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, row) in self.0.iter().take(SHOWN).enumerate() {
            let separator = if number == 0 { "" } else { "\n" };
            write!(f, "{separator}{}:{}: {}", row.path.display(), row.line, row.problem)?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more bad rows"),
        }
    }
}

/// `1` for a dev split without parts, `1 or N` for one of N parts.
fn one_or(parts: usize) -> String {
    if parts == 1 { "1".into() } else { format!("1 or {parts}") }
}

fn one_of(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ")
}
