//! Records to typed rows: every cell is read once, and the first bad one in the file is the error.

use std::borrow::Cow;

use rayon::prelude::*;

use super::header::Header;
use super::intern::{Names, merge};
use super::records::{End, Field, newlines, pieces, split};
use super::{Located, Problem, fault};
use crate::observation::{COLUMNS, Role, Status};

/// The text columns that are kept, as indices into [`Row::text`].
pub(super) const STUDY: usize = 0;
pub(super) const ENCODER: usize = 1;
pub(super) const INTERMEDIATE: usize = 2;
pub(super) const TASK: usize = 3;
pub(super) const METRIC: usize = 4;
pub(super) const RECIPE: usize = 5;
const TEXTS: usize = 6;
/// Their places in [`COLUMNS`].
const TEXT_COLUMNS: [usize; TEXTS] = [0, 2, 3, 5, 7, 24];

/// One line of the file. Numbers that are missing are NaN, which no cell can hold otherwise: `nan` as text is refused
/// or turned into "missing" when the cell is read.
#[derive(Clone)]
pub(super) struct Row {
    /// Line in the file, counted from 1.
    pub(super) line: u64,
    /// Where the record starts in the body.
    pub(super) offset: usize,
    /// Numbers of the names in [`Table::names`].
    pub(super) text: [u32; TEXTS],
    pub(super) role: Role,
    pub(super) status: Status,
    pub(super) primary: bool,
    pub(super) higher_is_better: bool,
    pub(super) degenerate: bool,
    pub(super) seed: i64,
    pub(super) score: f64,
    pub(super) scale: f64,
    pub(super) n_train: f64,
    pub(super) n_dev: f64,
    pub(super) n_classes: f64,
    pub(super) majority_score: f64,
    pub(super) n_intermediate: f64,
    pub(super) final_train_loss: f64,
    pub(super) n_distinct_pred: f64,
}

impl Row {
    /// True if the score may be used.
    pub(super) fn usable(&self) -> bool {
        self.status == Status::Ok && self.score.is_finite()
    }
}

/// All rows of a file and the names that their numbers stand for, each list sorted bytewise.
pub(super) struct Table<'a> {
    pub(super) body: &'a str,
    pub(super) rows: Vec<Row>,
    pub(super) names: [Vec<String>; TEXTS],
    /// False if the file does not end with a line end.
    pub(super) ends_with_line: bool,
}

struct Piece<'a> {
    rows: Vec<Row>,
    names: [Names<'a>; TEXTS],
}

/// Reads every record after the header.
pub(super) fn parse_all<'a>(body: &'a str, header: &Header) -> Located<Table<'a>> {
    // Small files are not worth a second thread; pieces of a large one are small enough to share out evenly.
    let parts = if body.len() < 1 << 20 { 1 } else { 4 * rayon::current_num_threads() };
    let pieces = pieces(body, parts);
    let lines: Vec<u64> = pieces.par_iter().map(|piece| newlines(piece.as_bytes())).collect();
    let mut starts = Vec::with_capacity(pieces.len());
    let (mut line, mut offset) = (header.lines, 0);
    for (piece, lines) in pieces.iter().zip(lines) {
        starts.push((line, offset));
        line += lines;
        offset += piece.len();
    }
    let read: Vec<Located<Piece<'a>>> =
        pieces.par_iter().zip(starts).map(|(piece, (line, offset))| parse_piece(piece, line, offset, header)).collect();
    let mut read = read.into_iter().collect::<Located<Vec<Piece<'a>>>>()?;

    let mut names: [Vec<String>; TEXTS] = Default::default();
    for column in 0..TEXTS {
        let lists: Vec<Names<'_>> = read.iter_mut().map(|piece| std::mem::take(&mut piece.names[column])).collect();
        let (sorted, ranks) = merge(&lists);
        names[column] = sorted;
        read.par_iter_mut().zip(ranks).for_each(|(piece, ranks)| {
            piece.rows.iter_mut().for_each(|row| row.text[column] = ranks[row.text[column] as usize]);
        });
    }
    let mut rows = Vec::with_capacity(read.iter().map(|piece| piece.rows.len()).sum());
    for piece in read {
        rows.extend(piece.rows);
    }
    if rows.is_empty() {
        return fault(None, Problem::NoRows);
    }
    Ok(Table { body, rows, names, ends_with_line: body.ends_with('\n') })
}

fn parse_piece<'a>(text: &'a str, mut line: u64, mut offset: usize, header: &Header) -> Located<Piece<'a>> {
    let mut piece = Piece { rows: Vec::with_capacity(text.len() / 100), names: Default::default() };
    let mut fields: Vec<Field<'a>> = Vec::with_capacity(header.width());
    let mut rest = text;
    while !rest.is_empty() {
        let (length, end) = split(rest, &mut fields);
        let place = |problem| (Some(line + 1), problem);
        if end == End::OpenQuote {
            return fault(Some(line + 1), Problem::OpenQuote);
        }
        let blank = fields.len() == 1 && fields[0].text.trim().is_empty();
        if !blank {
            check_width(fields.len(), header.width(), end).map_err(place)?;
            let row = read_row(&fields, header, line + 1, offset, &mut piece.names).map_err(place)?;
            piece.rows.push(row);
        }
        line += newlines(&rest.as_bytes()[..length]);
        offset += length;
        rest = &rest[length..];
    }
    Ok(piece)
}

fn check_width(found: usize, expected: usize, end: End) -> Result<(), Box<Problem>> {
    match end {
        _ if found == expected => Ok(()),
        End::Text if found < expected => Err(Problem::CutShort { found, expected }.into()),
        _ => Err(Problem::FieldCount { found, expected }.into()),
    }
}

fn read_row<'a>(
    fields: &[Field<'a>],
    header: &Header,
    line: u64,
    offset: usize,
    names: &mut [Names<'a>; TEXTS],
) -> Result<Row, Box<Problem>> {
    const EMPTY: Field<'static> = Field { text: "", doubled: false };
    let mut cells = [EMPTY; COLUMNS.len()];
    for (field, known) in fields.iter().zip(&header.known) {
        if let Some(column) = known {
            // Names are compared bytewise and stay as they are; spaces around a number or a word mean nothing.
            let text = if TEXT_COLUMNS.contains(column) { field.text } else { field.text.trim() };
            cells[*column] = Field { text, doubled: field.doubled };
        }
    }
    let mut name = |column: usize, slot: usize| names[slot].number(owned(cells[column]));
    let text = std::array::from_fn(|slot| name(TEXT_COLUMNS[slot], slot));
    for column in [3, 5] {
        if cells[column].text.is_empty() {
            return bad(cells[column], column, "a name");
        }
    }
    let status = word(cells[22], 22, Status::Ok, Status::parse, "ok, failed, timeout, running or missing")?;
    let role = Role::parse(cells[6].text).map_or_else(|| bad(cells[6], 6, "target, probe or intermediate"), Ok)?;
    let real = |column: usize| real(cells[column], column, status);
    // Columns that no statistic uses are still checked, so that a shifted line is found.
    real(23)?;
    count(cells[17], 17)?;
    Ok(Row {
        line,
        offset,
        text,
        role,
        status,
        primary: flag(cells[8], 8)?.unwrap_or(true),
        higher_is_better: flag(cells[11], 11)?.unwrap_or(true),
        degenerate: flag(cells[20], 20)?.unwrap_or(false),
        seed: seed(cells[4])?,
        score: real(9)?,
        scale: scale(cells[10])?,
        n_train: count(cells[12], 12)?,
        n_dev: count(cells[13], 13)?,
        n_classes: count(cells[14], 14)?,
        majority_score: real(15)?,
        n_intermediate: count(cells[16], 16)?,
        final_train_loss: real(18)?,
        n_distinct_pred: count(cells[19], 19)?,
    })
}

fn owned(field: Field<'_>) -> Cow<'_, str> {
    if field.doubled { Cow::Owned(field.value().into_owned()) } else { Cow::Borrowed(field.text) }
}

/// The error of a cell that cannot be read.
fn bad<T>(field: Field<'_>, column: usize, expected: &'static str) -> Result<T, Box<Problem>> {
    Err(Box::new(Problem::BadCell { column: COLUMNS[column], found: field.value().into_owned(), expected }))
}

/// A finite number, or NaN for "missing": an empty cell, or `nan` and `inf` in a run that is not `ok`.
fn real(field: Field<'_>, column: usize, status: Status) -> Result<f64, Box<Problem>> {
    if field.text.is_empty() {
        return Ok(f64::NAN);
    }
    let value: f64 = field.text.parse().or_else(|_| bad(field, column, "a number"))?;
    match status {
        _ if value.is_finite() => Ok(value),
        Status::Ok => Err(Problem::NotFinite { column: COLUMNS[column], found: field.text.to_owned() }.into()),
        Status::Failed | Status::Timeout | Status::Running | Status::Missing => Ok(f64::NAN),
    }
}

/// A whole number of things; `2490.0`, which pandas writes in a column with gaps, counts as one.
fn count(field: Field<'_>, column: usize) -> Result<f64, Box<Problem>> {
    if field.text.is_empty() {
        return Ok(f64::NAN);
    }
    let value: f64 = field.text.parse().or_else(|_| bad(field, column, "a whole number"))?;
    if value >= 0.0 && value.fract() == 0.0 { Ok(value) } else { bad(field, column, "a whole number") }
}

fn scale(field: Field<'_>) -> Result<f64, Box<Problem>> {
    if field.text.is_empty() {
        return Ok(f64::NAN);
    }
    let value = field.text.parse().ok().filter(|value: &f64| value.is_finite() && *value > 0.0);
    value.map_or_else(|| bad(field, 10, "a positive number"), Ok)
}

fn seed(field: Field<'_>) -> Result<i64, Box<Problem>> {
    if let Ok(seed) = field.text.parse::<i64>() {
        return Ok(seed);
    }
    let whole = field.text.parse::<f64>().ok().filter(|value| value.fract() == 0.0 && value.abs() < 2f64.powi(53));
    whole.map(|value| value as i64).map_or_else(|| bad(field, 4, "a whole number"), Ok)
}

fn flag(field: Field<'_>, column: usize) -> Result<Option<bool>, Box<Problem>> {
    match field.text {
        "" => Ok(None),
        "true" | "True" | "TRUE" | "1" | "1.0" => Ok(Some(true)),
        "false" | "False" | "FALSE" | "0" | "0.0" => Ok(Some(false)),
        _ => bad(field, column, "true, false, 1 or 0"),
    }
}

fn word<T>(
    field: Field<'_>,
    column: usize,
    default: T,
    parse: impl Fn(&str) -> Option<T>,
    expected: &'static str,
) -> Result<T, Box<Problem>> {
    if field.text.is_empty() {
        return Ok(default);
    }
    parse(field.text).map_or_else(|| bad(field, column, expected), Ok)
}
