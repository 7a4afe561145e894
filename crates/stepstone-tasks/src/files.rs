//! Files that replace a task's official ones: `files = { train = "...", dev = "..." }`.

use crate::catalogue::find;
use crate::error::DataError;
use crate::task::Task;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use stepstone_files::read_at_most;
use toml::Spanned;

/// The file in a data folder that replaces files for everybody who uses the folder.
const SETTINGS: &str = "stepstone.toml";
/// Far above any real settings, and small enough that a wrong file does no harm.
const MOST_BYTES: u64 = 1 << 20;

/// Files of a task's splits, relative to the data folder. A split without an entry uses the official file names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Files {
    /// The training split.
    pub train: Option<PathBuf>,
    /// The dev split: one file, or one per part.
    #[serde(deserialize_with = "one_or_many")]
    pub dev: Vec<PathBuf>,
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a path or a list of paths")]
    enum OneOrMany {
        One(PathBuf),
        Many(Vec<PathBuf>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(path) => vec![path],
        OneOrMany::Many(paths) => paths,
    })
}

impl Files {
    /// Merges with `other`; entries of `self` win.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        Self {
            train: self.train.clone().or_else(|| other.train.clone()),
            dev: if self.dev.is_empty() { other.dev.clone() } else { self.dev.clone() },
        }
    }

    /// The entries for this task in `stepstone.toml` of the data folder; empty without such a file.
    ///
    /// # Errors
    /// If the file cannot be read, is not TOML, or names an unknown key or task.
    pub(crate) fn of_folder(task: &Task, data: &Path) -> Result<Self, DataError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Settings {
            #[serde(default)]
            // The spans let an error about a task's name show its line.
            task: BTreeMap<Spanned<String>, TaskSettings>,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct TaskSettings {
            files: Files,
        }
        let path = data.join(SETTINGS);
        let bytes = read_at_most(&path, MOST_BYTES);
        let text = match bytes.and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other)) {
            Ok(text) => text,
            // The file is optional; any other error must not silently select the official files.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(DataError::Read { path, source }),
        };
        let refused = |at: usize, problem: String| {
            // Lines and columns count from 1, and columns count characters, as in editors.
            let before = &text[..at.min(text.len())];
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            DataError::Settings { path: path.clone(), line, column, problem }
        };
        let settings: Settings = toml::from_str(&text).map_err(|error| {
            refused(error.span().map_or(0, |span| span.start), error.message().trim().replace('\n', ", "))
        })?;
        let mut files = BTreeMap::new();
        let mut tables: Vec<_> = settings.task.into_iter().collect();
        tables.sort_by_key(|(name, _)| name.span().start); // of two tables of one task, the error shows the later
        for (name, settings) in tables {
            let at = name.span().start;
            // Tables of other tasks are checked as well, so that a typo in a name does not go unnoticed.
            let found = find(name.get_ref()).map_err(|error| refused(at, format!("{error}; {}", error.hint())))?;
            if files.insert(found.name, settings.files).is_some() {
                return Err(refused(at, format!("a second table of task `{}`, expected one", found.name)));
            }
        }
        Ok(files.remove(task.name).unwrap_or_default())
    }
}
