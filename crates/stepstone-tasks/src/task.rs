//! A task as one row of data.

use crate::metric::Metric;
use crate::row::{Object, Row};

/// Everything that the program knows of a task.
#[derive(Debug)]
pub struct Task {
    /// The name users type.
    pub name: &'static str,
    /// The paper that made the data.
    pub citation: &'static str,
    /// The data's licence, as far as its owners state one.
    pub licence: &'static str,
    /// Where the Hugging Face hub has the data; None where it has not.
    pub hub: Option<Hub>,
    /// Where its data lies and how it is laid out.
    pub files: TaskFiles,
    /// What an answer is.
    pub head: TaskHead,
    /// Labels in class-id order, as the files write them; of a choice question its positions.
    pub labels: &'static [&'static str],
    /// What a run is judged by.
    pub metric: Metric,
}

/// The official files of a task.
#[derive(Debug)]
pub struct TaskFiles {
    /// Folder names under the data folder, the official one first.
    pub folders: &'static [&'static str],
    /// Names of the training file; the first that exists is read.
    pub train: &'static [&'static str],
    /// The dev split: its parts in order, each with its possible file names.
    pub dev: &'static [(&'static str, &'static [&'static str])],
    /// How the official files are laid out; by file extension where a task has two forms.
    pub layouts: &'static [Layout],
    /// A file beside each file of rows, without which those are not whole.
    pub companion: Option<Companion>,
    /// Defects that the official files are known to have.
    pub known_bad: Option<KnownBad>,
}

/// A file that belongs to a file of rows and lies beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Companion {
    /// `X-labels.lst` of `X.jsonl`, read where the rows have no labels of their own: one of these in each line, in class-id
    /// order.
    Labels(&'static [&'static str]),
    /// `X_metadata.json` of `X_data.json`: `misc.fold1` tells the split of the row that shares its `pair-id`.
    Folds,
}

/// Rows of the official files that are dropped, and said to be, rather than refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownBad {
    /// The split that has them.
    pub split: &'static str,
    /// What is wrong with them.
    pub kind: BadKind,
    /// How many there are at most in one file; more are an error.
    pub count: usize,
}

/// A kind of bad row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadKind {
    /// Fewer columns than the header.
    ShortRow,
}

impl Task {
    /// Sequences that a model reads of one example.
    pub fn sequences_per_example(&self) -> usize {
        match self.head {
            TaskHead::Classification => 1,
            TaskHead::MultipleChoice => self.labels.len(),
        }
    }
}

/// What a model decides about one example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskHead {
    /// One of the labels, from one sequence.
    Classification,
    /// One of as many choices as there are labels, each its own sequence.
    MultipleChoice,
}

/// A data set of the Hugging Face hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hub {
    /// Repository, `owner/name`.
    pub dataset: &'static str,
    /// Configuration in it.
    pub config: &'static str,
}

/// The layout of one kind of file.
#[derive(Debug)]
pub struct Layout {
    /// File extension it applies to, compression suffix cut.
    pub extension: &'static str,
    /// Where the fields are.
    pub columns: Columns,
}

/// Where the fields of a row are.
#[derive(Debug, Clone, Copy)]
pub enum Columns {
    /// Tab-separated with a header line, no quoting.
    Header(Fields<&'static str>),
    /// Tab-separated without header: `width` columns, fields by number from 0.
    Numbered {
        /// Columns of every row.
        width: usize,
        /// Field positions.
        fields: Fields<usize>,
    },
    /// One JSON object per line.
    Json(Fields<&'static str>),
    /// One JSON object per line, read by a function of the task's own; an error says what is wrong with the object.
    JsonBy(fn(&Object<'_>) -> Result<Row, String>),
    /// One JSON array of objects.
    JsonArray(Fields<&'static str>),
}

impl Columns {
    /// Whether a file's first line can only be of this layout.
    pub(crate) fn shows_in(&self, first_line: &str) -> bool {
        match self {
            Self::Header(fields) => {
                let mut texts = [Some(fields.text), fields.pair].into_iter().flatten();
                texts.all(|text| first_line.split('\t').any(|name| name == text))
            }
            Self::Json(_) | Self::JsonBy(_) => first_line.starts_with('{'),
            Self::JsonArray(_) => first_line.starts_with('['),
            Self::Numbered { .. } => false,
        }
    }
}

/// The fields of a row, by name or by number.
#[derive(Debug, Clone, Copy)]
pub struct Fields<T> {
    /// The row's own number, if it has one.
    pub id: Option<T>,
    /// The first, or only, text.
    pub text: T,
    /// The second text of a pair.
    pub pair: Option<T>,
    /// The label.
    pub label: T,
}
