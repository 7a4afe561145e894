//! A task as one row of data.

use crate::metric::Metric;
use crate::row::{Object, Row};

/// Everything the program knows about a task.
#[derive(Debug)]
pub struct Task {
    /// The name users type.
    pub name: &'static str,
    /// The paper that introduced the data.
    pub citation: &'static str,
    /// The licence of the data, if its owners state one.
    pub licence: &'static str,
    /// The data set on the Hugging Face hub; None if it is not there.
    pub hub: Option<Hub>,
    /// Location and layout of its data.
    pub files: TaskFiles,
    /// The kind of answer.
    pub head: TaskHead,
    /// Labels in class-id order, as the files write them; for multiple choice, the labels of the choices.
    pub labels: &'static [&'static str],
    /// The primary metric.
    pub metric: Metric,
}

/// The official files of a task.
#[derive(Debug)]
pub struct TaskFiles {
    /// Folder names under the data folder, the official one first.
    pub folders: &'static [&'static str],
    /// Names of the training file; the first that exists is read.
    pub train: &'static [&'static str],
    /// The parts of the dev split in order, each with its possible file names.
    pub dev: &'static [(&'static str, &'static [&'static str])],
    /// Layouts of the official files, one per form; the first line or the extension of a file selects one.
    pub layouts: &'static [Layout],
    /// A companion file that completes each file of rows.
    pub companion: Option<Companion>,
    /// Known defects of the official files.
    pub known_bad: Option<KnownBad>,
}

/// A companion file, in the same folder as the file of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Companion {
    /// `X-labels.lst` of `X.jsonl`, for rows without labels: one label per line. The list names them in class-id order.
    Labels(&'static [&'static str]),
    /// `X_metadata.json` of `X_data.json`: `misc.fold1` is the split of the row with the same `pair-id`.
    Folds,
}

/// Bad rows of the official files that are dropped with a note instead of refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownBad {
    /// The split that has them.
    pub split: &'static str,
    /// What is wrong with them.
    pub kind: BadKind,
    /// Maximum number per file; more are an error.
    pub count: usize,
}

/// A kind of bad row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadKind {
    /// Fewer columns than the header.
    ShortRow,
}

impl Task {
    /// Number of sequences that a model reads per example.
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
    /// One of several choices, one per label; each choice is a sequence.
    MultipleChoice,
}

/// A data set of the Hugging Face hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hub {
    /// Repository, `owner/name`.
    pub dataset: &'static str,
    /// Configuration of the data set.
    pub config: &'static str,
}

/// The layout of one kind of file.
#[derive(Debug)]
pub struct Layout {
    /// File extension it applies to, without a compression suffix.
    pub extension: &'static str,
    /// Where the fields are.
    pub columns: Columns,
}

/// Where the fields of a row are.
#[derive(Debug, Clone, Copy)]
pub enum Columns {
    /// Tab-separated with a header line, no quoting.
    Header(Fields<&'static str>),
    /// Tab-separated without a header: `width` columns, fields by number from 0.
    Numbered {
        /// Number of columns.
        width: usize,
        /// Field positions.
        fields: Fields<usize>,
    },
    /// One JSON object per line.
    Json(Fields<&'static str>),
    /// One JSON object per line, read by a function of the task; its error says what is wrong with the object.
    JsonBy(fn(&Object<'_>) -> Result<Row, String>),
    /// One JSON array of objects.
    JsonArray(Fields<&'static str>),
}

impl Columns {
    /// Whether the first line of a file shows this layout and no other.
    pub(crate) fn shows_in(&self, first_line: &str) -> bool {
        match self {
            Self::Header(fields) => {
                let mut texts = [Some(fields.text), fields.pair].into_iter().flatten();
                texts.all(|text| first_line.split('\t').any(|name| name == text))
            }
            Self::Json(_) | Self::JsonBy(_) => first_line.starts_with('{'),
            Self::JsonArray(_) => first_line.starts_with('['),
            // Without a header, any line could be a row of this layout.
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
