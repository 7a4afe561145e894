//! Reads observations.csv: bytes to records, records to rows, rows to checked studies.

mod check;
mod error;
mod header;
mod intern;
mod observations;
mod records;
mod repeats;
mod row;
mod scale;

use std::path::Path;

use error::Located;

pub use error::{InputError, Problem};
pub use observations::{Observations, ObservationsFile};
pub(crate) use observations::{Outcome, RunScore};

/// Reads a file in the schema of `crate::observation::COLUMNS`: columns in any order, unknown ones ignored. Large
/// files are parsed on the threads of the current rayon pool; what is read does not depend on their number.
/// # Errors
/// The first problem in the order of the file, with its line: a column that is missing, a cell that cannot be read,
/// a file that is cut, or runs that contradict each other.
pub fn read(path: impl AsRef<Path>) -> Result<ObservationsFile, InputError> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|source| InputError::at(path, None, Problem::Open { source }.into()))?;
    parse(path, &bytes)
}

/// Reads the text of an observations file; `path` only names it in errors.
/// # Errors
/// As [`read`].
pub fn parse(path: impl AsRef<Path>, bytes: &[u8]) -> Result<ObservationsFile, InputError> {
    let path = path.as_ref();
    parse_bytes(bytes).map_err(|(line, problem)| InputError::at(path, line, problem))
}

fn parse_bytes(bytes: &[u8]) -> Located<ObservationsFile> {
    let text = records::as_text(bytes)?;
    let (header, body) = header::parse(text)?;
    let table = row::parse_all(body, &header)?;
    check::studies(&table, &header)
}
