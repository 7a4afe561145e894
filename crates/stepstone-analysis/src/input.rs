//! Reads observations.csv: bytes to records, records to rows, rows to checked studies.

mod check;
mod error;
mod header;
mod intern;
mod records;
mod row;
mod scale;
mod study;

use std::path::Path;

pub use error::{InputError, MissingColumn, Problem};
pub use study::{Observations, Outcome, Reason, Run, Study, Task};

/// Reads a file in the schema of [`crate::observation::COLUMNS`]: columns in any order, unknown ones ignored. Large
/// files are parsed on the threads of the current rayon pool; what is read does not depend on their number.
/// # Errors
/// The first problem in the order of the file, with its line: a column that is missing, a cell that cannot be read,
/// a file that is cut, or runs that contradict each other.
pub fn read(path: impl AsRef<Path>) -> Result<Observations, InputError> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|source| InputError::at(path, None, Problem::Open { source }.into()))?;
    parse(path, &bytes)
}

/// Reads the text of an observations file; `path` only names it in errors.
/// # Errors
/// As [`read`].
pub fn parse(path: impl AsRef<Path>, bytes: &[u8]) -> Result<Observations, InputError> {
    let path = path.as_ref();
    parse_bytes(bytes).map_err(|(line, problem)| InputError::at(path, line, problem))
}

/// A problem and the line that it stands on.
type Located<T> = Result<T, (Option<u64>, Box<Problem>)>;

fn fault<T>(line: Option<u64>, problem: Problem) -> Located<T> {
    Err((line, Box::new(problem)))
}

fn parse_bytes(bytes: &[u8]) -> Located<Observations> {
    let text = records::as_text(bytes)?;
    let (header, body) = header::parse(text)?;
    let table = row::parse_all(body, &header)?;
    check::studies(&table, &header)
}
