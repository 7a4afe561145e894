//! Errors of an observations file, each with file and line.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::column::Column;

/// Expectation of a column of counts, in errors and to recognise such a column.
pub(super) const WHOLE_NUMBER: &str = "a whole number";

/// A problem of an input file. Shown as `FILE:LINE: what was found and what was expected`.
#[derive(Debug, thiserror::Error)]
#[error("{}{}: {problem}", path.display(), Line(*line))]
pub struct InputError {
    /// The file.
    pub path: PathBuf,
    /// Line in the file, counted from 1; absent where the whole file is meant.
    pub line: Option<u64>,
    /// The problem.
    pub problem: Box<Problem>,
}

struct Line(Option<u64>);

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}

/// A required column that the header lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingColumn {
    /// The column that is needed.
    pub name: &'static str,
    /// The column of the file with the most similar name, if one is similar.
    pub nearest: Option<String>,
}

impl fmt::Display for MissingColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.name)?;
        self.nearest.as_ref().map_or(Ok(()), |nearest| write!(f, " (nearest found: `{nearest}`)"))
    }
}

/// A problem of an observations file.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The file cannot be opened or read.
    #[error("{}", opening(source))]
    Open {
        /// The error of the system.
        source: io::Error,
    },
    /// No byte, or only blank lines.
    #[error("the file is empty, expected a header line and observations")]
    Empty,
    /// A header and nothing else.
    #[error("the file has a header but no observations")]
    NoRows,
    /// A Parquet file.
    #[error("this is a Parquet file, expected CSV text")]
    Parquet,
    /// Not text in UTF-8.
    #[error("the line is not valid UTF-8")]
    NotUtf8,
    /// Required columns are missing.
    #[error("missing column{} {}", if missing.len() == 1 { "" } else { "s" }, join(missing))]
    MissingColumns {
        /// The missing columns, each with the nearest name found.
        missing: Vec<MissingColumn>,
        /// The separator that the header seems to use, if it is not a comma.
        separator: Option<char>,
    },
    /// Two columns of one name.
    #[error("column `{name}` appears twice in the header")]
    RepeatedColumn {
        /// The name.
        name: String,
    },
    /// A line with too few or too many fields.
    #[error("the line has {found} fields, expected {expected} as in the header")]
    FieldCount {
        /// Fields on the line.
        found: usize,
        /// Fields in the header.
        expected: usize,
    },
    /// The last line stops before its last field.
    #[error("the file ends in the middle of this line: {found} of {expected} fields and no newline")]
    CutShort {
        /// Fields on the line.
        found: usize,
        /// Fields in the header.
        expected: usize,
    },
    /// A quoted field that never ends.
    #[error("a quoted field opens in this record and is not closed before the file ends")]
    OpenQuote,
    /// A cell that cannot be read.
    #[error("column `{column}` holds `{found}`, expected {expected}")]
    BadCell {
        /// Name of the column.
        column: &'static str,
        /// The text of the cell.
        found: String,
        /// The values that the column takes.
        expected: &'static str,
    },
    /// `nan` or `inf` in a run whose status is ok.
    #[error("column `{column}` holds `{found}` in a run with status ok, expected a finite number")]
    NotFinite {
        /// Name of the column.
        column: &'static str,
        /// The text of the cell.
        found: String,
    },
    /// Two primary scores of one run that differ.
    #[error(
        "conflicts with line {first}: both hold a primary score of task `{task}` ({role}), intermediate \
         `{intermediate}`, seed {seed}"
    )]
    Conflict {
        /// The earlier line.
        first: u64,
        /// The task.
        task: String,
        /// Its role.
        role: &'static str,
        /// The intermediate task.
        intermediate: String,
        /// The restart.
        seed: i64,
        /// The two metrics, if that is where the lines differ.
        metrics: Option<(String, String)>,
    },
    /// A run whose metrics are all marked as not primary.
    #[error("task `{task}` of intermediate `{intermediate}`, seed {seed} has no primary metric, expected exactly one")]
    NoPrimary {
        /// The task.
        task: String,
        /// The intermediate task.
        intermediate: String,
        /// The restart.
        seed: i64,
    },
    /// A task in two roles.
    #[error("task `{task}` is a probe here and a target on line {first}, expected one role")]
    TwoRoles {
        /// The task.
        task: String,
        /// First line of the other role.
        first: u64,
    },
    /// A task with two scales.
    #[error("task `{task}` has scale {found} here and {expected} on line {first}, expected one scale per task")]
    TwoScales {
        /// The task.
        task: String,
        /// The scale on this line.
        found: f64,
        /// The scale on the earlier line.
        expected: f64,
        /// The earlier line.
        first: u64,
    },
    /// A task with two directions.
    #[error("task `{task}` has higher_is_better {found} here and {} on line {first}, expected one direction", !found)]
    TwoDirections {
        /// The task.
        task: String,
        /// The direction on this line.
        found: bool,
        /// The earlier line.
        first: u64,
    },
    /// A score that its metric cannot take.
    #[error("score {score} of task `{task}` is outside {low}..{high}, the range of `{metric}` at scale {scale}")]
    OutOfRange {
        /// The task.
        task: String,
        /// Name of the metric.
        metric: String,
        /// The score as written.
        score: f64,
        /// The scale in force.
        scale: f64,
        /// Smallest possible score.
        low: f64,
        /// Largest possible score.
        high: f64,
    },
}

/// A problem and its line.
// Boxed, since every cell that is read returns a result and a `Problem` is many times larger than a number.
pub(super) type Located<T> = Result<T, (Option<u64>, Box<Problem>)>;

pub(super) fn fault<T>(line: Option<u64>, problem: Problem) -> Located<T> {
    Err((line, Box::new(problem)))
}

fn join(missing: &[MissingColumn]) -> String {
    missing.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl InputError {
    pub(super) fn at(path: &Path, line: Option<u64>, problem: Box<Problem>) -> Self {
        Self { path: path.to_owned(), line, problem }
    }

    /// What the user can do; `None` if the message is enough.
    pub fn hint(&self) -> Option<String> {
        self.problem.hint()
    }
}

fn opening(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::IsADirectory => "this is a folder, expected a CSV file".to_owned(),
        _ => error.to_string(),
    }
}

impl Problem {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Parquet => "convert it first, e.g. pandas: read_parquet(FILE).to_csv(\"FILE.csv\", index=False)",
            Self::NotUtf8 => "save the file as UTF-8",
            Self::MissingColumns { separator: Some(separator), .. } => {
                return Some(format!("the header seems to use {separator:?} between columns; use commas"));
            }
            Self::MissingColumns { separator: None, .. } => {
                return Some(format!("the first line must name the columns; needed: {}", required()));
            }
            Self::CutShort { .. } | Self::OpenQuote => "the file is incomplete; write or copy it again",
            Self::FieldCount { .. } => "a field that contains a comma or a line break must be quoted",
            Self::BadCell { found, expected, .. } if found.contains(',') => return comma(found, expected),
            Self::NotFinite { .. } => "leave the cell empty, or set `status` to how the run ended (failed, timeout)",
            Self::Conflict { metrics: Some((first, second)), .. } => {
                return Some(format!(
                    "the metrics are `{first}` and `{second}`: set `primary` to `true` for one and `false` for the other"
                ));
            }
            Self::Conflict { metrics: None, .. } => "remove one of the two lines; a repeated run needs its own seed",
            Self::NoPrimary { .. } => "set `primary` to `true` for the metric that counts",
            Self::TwoRoles { .. } => "give the task two names, or drop one of the roles",
            Self::TwoScales { .. } => "all scores of a task must have the same unit",
            Self::TwoDirections { .. } => "all scores of a task must have the same direction",
            Self::OutOfRange { .. } => "state the unit in `scale` (points = score x scale): 100 for 0..1, 1 for points",
            Self::Open { source } if source.kind() == io::ErrorKind::IsADirectory => "name the CSV file in it",
            Self::Open { .. } => {
                return Some(format!(
                    "`stepstone report STUDY` writes observations.csv into the study's folder; any CSV with the columns {} \
                     will do (docs/observations.md)",
                    required()
                ));
            }
            Self::Empty | Self::NoRows | Self::RepeatedColumn { .. } | Self::BadCell { .. } => return None,
        };
        Some(hint.to_owned())
    }
}

fn required() -> String {
    Column::REQUIRED.map(Column::name).join(", ")
}

/// How to write a number that has a comma: `2,490` means 2490 in a column of whole numbers and may mean 2.490 in another.
fn comma(found: &str, expected: &str) -> Option<String> {
    let whole = expected == WHOLE_NUMBER;
    let (integer, decimals) = found.split_once('.').map_or((found, ""), |(integer, decimals)| (integer, decimals));
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    let mut groups = integer.trim_start_matches(['-', '+']).split(',');
    let first = groups.next().unwrap_or_default();
    let grouped = (1..=3).contains(&first.len())
        && digits(first)
        && !first.starts_with('0')
        && groups.clone().all(|group| group.len() == 3 && digits(group));
    let thousands = found.replace(',', "");
    let decimal = found.replace(',', ".");
    let is_decimal = !whole && decimals.is_empty() && groups.count() == 1 && decimal.parse::<f64>().is_ok();
    match (grouped, is_decimal) {
        (true, true) => Some(format!(
            "write {decimal} if the comma is the decimal separator, {thousands} if it separates thousands"
        )),
        (true, false) => Some(format!("write {thousands}, without a thousands separator")),
        (false, true) => Some(format!("write {decimal}, with a decimal point")),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;

    #[test]
    fn a_comma_inside_a_number_is_explained_by_what_it_can_mean() {
        for (score, n_train, hint) in [
            ("0.5", "2,490", Some("write 2490, without a thousands separator")),
            ("0.5", "1,234,567", Some("write 1234567, without a thousands separator")),
            ("0.5", "12,34", None),
            ("0,5", "2490", Some("write 0.5, with a decimal point")),
            ("-12,34", "2490", Some("write -12.34, with a decimal point")),
            (
                "2,490",
                "2490",
                Some("write 2.490 if the comma is the decimal separator, 2490 if it separates thousands"),
            ),
            ("1,234.5", "2490", Some("write 1234.5, without a thousands separator")),
            ("first, second", "2490", None),
        ] {
            let text =
                format!("intermediate,seed,task,role,score,n_train\nnone,0,rte,target,\"{score}\",\"{n_train}\"\n");
            let error = parse("o.csv", text.as_bytes()).expect_err(score);
            assert_eq!(error.hint().as_deref(), hint, "{score} {n_train}: {error}");
        }
    }
}
