//! The header line: the position of each column, and the nearest name for one that is missing.

use std::collections::HashSet;

use super::error::{Located, MissingColumn, Problem, fault};
use super::records::{End, Field, split};
use crate::column::Column;

/// The columns of a file.
pub(super) struct Header {
    /// For each column of the file, which of ours it is.
    pub(super) known: Vec<Option<Column>>,
    /// The names as written in the file, to recognise the header of a second file that was joined on.
    names: Vec<String>,
    /// Columns that the schema does not know.
    pub(super) unknown: Vec<String>,
    /// Lines of the file before the first record after the header.
    pub(super) lines: u64,
}

impl Header {
    /// Number of columns in the file.
    pub(super) fn width(&self) -> usize {
        self.known.len()
    }

    /// True if a record holds the names of the columns again.
    pub(super) fn is_repeated_by(&self, fields: &[Field<'_>]) -> bool {
        fields.len() == self.width()
            && fields.iter().zip(&self.names).all(|(field, name)| field.value().trim() == name.as_str())
    }
}

/// Reads the header and returns what follows it.
pub(super) fn parse(text: &str) -> Located<(Header, &str)> {
    // Spreadsheet exports sometimes begin with blank lines.
    let blank = text.len() - text.trim_start_matches(['\n', '\r']).len();
    let (before, text) = text.split_at(blank);
    if text.trim().is_empty() {
        return fault(None, Problem::Empty);
    }
    let skipped = super::records::newlines(before.as_bytes());
    let mut fields = Vec::new();
    let (length, end) = split(text, &mut fields);
    if end == End::OpenQuote {
        return fault(Some(skipped + 1), Problem::OpenQuote);
    }
    let names: Vec<String> = fields.iter().map(|field: &Field| field.value().trim().to_owned()).collect();
    let lines = skipped + super::records::newlines(&text.as_bytes()[..length]);
    let header = columns(names, lines).map_err(|problem| (Some(skipped + 1), problem))?;
    Ok((header, &text[length..]))
}

fn columns(names: Vec<String>, lines: u64) -> Result<Header, Box<Problem>> {
    let mut seen = HashSet::new();
    // Pandas writes an index column without a name; several of them do no harm.
    if let Some(name) = names.iter().find(|name| !name.is_empty() && !seen.insert(name.as_str())) {
        return Err(Problem::RepeatedColumn { name: name.clone() }.into());
    }
    // All missing columns at once, so that nobody has to repair a header one column at a time.
    let missing: Vec<MissingColumn> = Column::REQUIRED
        .into_iter()
        .map(Column::name)
        .filter(|required| !names.iter().any(|name| name == required))
        .map(|name| MissingColumn { name, nearest: nearest(name, &names) })
        .collect();
    if !missing.is_empty() {
        return Err(Problem::MissingColumns { missing, separator: separator(&names) }.into());
    }
    let known: Vec<Option<Column>> = names.iter().map(|name| Column::parse(name)).collect();
    let unknown = names.iter().zip(&known).filter(|(_, known)| known.is_none()).map(|(name, _)| name.clone()).collect();
    Ok(Header { known, names, unknown, lines })
}

/// Jaro-Winkler likeness from which a name is worth suggesting; equal names have 1.
// Below this two names share little, and a suggestion would mislead.
const LIKE: f64 = 0.7;

/// The name of the file that is most like `wanted`, among those that the schema does not use for something else.
fn nearest(wanted: &str, names: &[String]) -> Option<String> {
    let free = names.iter().filter(|name| !name.is_empty() && Column::parse(name).is_none());
    let likeness = |name: &String| strsim::jaro_winkler(&name.to_lowercase(), wanted);
    let best = free.max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(best) >= LIKE).then(|| best.clone())
}

/// The separator that a header without commas seems to use.
fn separator(names: &[String]) -> Option<char> {
    match names {
        [only] => [';', '\t', '|'].into_iter().find(|&separator| only.contains(separator)),
        _ => None,
    }
}
