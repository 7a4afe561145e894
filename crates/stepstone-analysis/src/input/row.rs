//! Records to typed rows: every cell is read once, and the first bad one in the file is the error.

use std::borrow::Cow;

use rayon::prelude::*;

use super::error::{Located, Problem, WHOLE_NUMBER, fault};
use super::header::Header;
use super::intern::{TextNumbers, merge};
use super::records::{End, Field, newlines, pieces, split};
use crate::column::{Column, Content};
use crate::observation::{Role, Status};

/// The text columns that are kept. Each line holds the number of its text; [`FileRows::name`] gives the text back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    Study,
    Encoder,
    Intermediate,
    Task,
    Metric,
    Recipe,
}

impl Name {
    const COUNT: usize = 6;

    /// In the order of the variants, so that `name as usize` is the place.
    const ALL: [Self; Self::COUNT] =
        [Self::Study, Self::Encoder, Self::Intermediate, Self::Task, Self::Metric, Self::Recipe];

    fn column(self) -> Column {
        match self {
            Self::Study => Column::Study,
            Self::Encoder => Column::Encoder,
            Self::Intermediate => Column::Intermediate,
            Self::Task => Column::Task,
            Self::Metric => Column::Metric,
            Self::Recipe => Column::Recipe,
        }
    }
}

/// One line of the file. Numbers that are missing are NaN, which no cell can hold otherwise: `nan` as text is refused
/// or turned into "missing" when the cell is read.
#[derive(Clone)]
pub(super) struct Row {
    /// Line in the file, counted from 1.
    pub(super) line: u64,
    /// Where the record starts in the body.
    pub(super) offset: usize,
    /// Numbers of the texts in [`FileRows::names`].
    names: [u32; Name::COUNT],
    pub(super) role: Role,
    pub(super) status: Status,
    pub(super) primary: bool,
    pub(super) seed: i64,
    pub(super) score: f64,
    pub(super) about: AboutTask,
    pub(super) training: Training,
}

/// Facts about the task, and the size of the intermediate, on one line.
#[derive(Clone, Copy)]
pub(super) struct AboutTask {
    pub(super) scale: f64,
    pub(super) higher_is_better: bool,
    pub(super) n_train: f64,
    pub(super) n_dev: f64,
    pub(super) n_classes: f64,
    pub(super) majority_score: f64,
    pub(super) n_intermediate: f64,
}

/// Facts about the training on one line, by which degenerate runs are found.
#[derive(Clone, Copy)]
pub(super) struct Training {
    pub(super) degenerate: bool,
    pub(super) final_loss: f64,
    pub(super) n_distinct_pred: f64,
}

impl Row {
    /// The number of a text, which is also its rank among the texts of the column.
    pub(super) fn name(&self, name: Name) -> u32 {
        self.names[name as usize]
    }

    /// True if the score may be used.
    pub(super) fn usable(&self) -> bool {
        self.status == Status::Ok && self.score.is_finite()
    }
}

/// All rows of a file and the texts that their numbers stand for, each list sorted bytewise.
pub(super) struct FileRows<'a> {
    pub(super) body: &'a str,
    pub(super) rows: Vec<Row>,
    names: [Vec<String>; Name::COUNT],
    /// Lines that repeat the header.
    pub(super) headers: Vec<u64>,
    /// False if the file does not end with a line end.
    pub(super) ends_with_line: bool,
}

impl FileRows<'_> {
    /// The text of a number.
    pub(super) fn name(&self, name: Name, number: u32) -> &str {
        &self.names[name as usize][number as usize]
    }
}

struct Piece<'a> {
    rows: Vec<Row>,
    names: [TextNumbers<'a>; Name::COUNT],
    headers: Vec<u64>,
}

/// Reads every record after the header.
pub(super) fn parse_all<'a>(body: &'a str, header: &Header) -> Located<FileRows<'a>> {
    // Small files are not worth a second thread; pieces of a large one are small enough to share out evenly.
    let parts = if body.len() < 1 << 20 { 1 } else { 4 * rayon::current_num_threads() };
    let pieces = pieces(body, parts);
    // Lines are counted before the pieces are parsed, so that each piece can name the lines of its errors.
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
    // Collecting stops at the first error in the order of the file, whichever thread met it first.
    let mut read = read.into_iter().collect::<Located<Vec<Piece<'a>>>>()?;

    let mut names: [Vec<String>; Name::COUNT] = Default::default();
    for column in 0..Name::COUNT {
        let lists: Vec<TextNumbers<'_>> =
            read.iter_mut().map(|piece| std::mem::take(&mut piece.names[column])).collect();
        // Numbers become ranks of names: sorting rows by number then sorts them by name.
        let (sorted, ranks) = merge(&lists);
        names[column] = sorted;
        read.par_iter_mut().zip(ranks).for_each(|(piece, ranks)| {
            piece.rows.iter_mut().for_each(|row| row.names[column] = ranks[row.names[column] as usize]);
        });
    }
    let mut rows = Vec::with_capacity(read.iter().map(|piece| piece.rows.len()).sum());
    let mut headers = Vec::new();
    for piece in read {
        rows.extend(piece.rows);
        headers.extend(piece.headers);
    }
    if rows.is_empty() {
        return fault(None, Problem::NoRows);
    }
    Ok(FileRows { body, rows, names, headers, ends_with_line: body.ends_with('\n') })
}

fn parse_piece<'a>(text: &'a str, mut line: u64, mut offset: usize, header: &Header) -> Located<Piece<'a>> {
    // Lines of our own files have about 100 bytes; a wrong guess costs a reallocation.
    let mut piece =
        Piece { rows: Vec::with_capacity(text.len() / 100), names: Default::default(), headers: Vec::new() };
    let mut fields: Vec<Field<'a>> = Vec::with_capacity(header.width());
    let mut rest = text;
    while !rest.is_empty() {
        let (length, end) = split(rest, &mut fields);
        let place = |problem| (Some(line + 1), problem);
        if end == End::OpenQuote {
            return fault(Some(line + 1), Problem::OpenQuote);
        }
        let blank = fields.len() == 1 && fields[0].text.trim().is_empty();
        if header.is_repeated_by(&fields) {
            piece.headers.push(line + 1);
        // A blank line at the end is what many editors leave; one in the middle does no harm.
        } else if !blank {
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
    names: &mut [TextNumbers<'a>; Name::COUNT],
) -> Result<Row, Box<Problem>> {
    let cells = Cells::new(fields, header);
    for column in [Column::Intermediate, Column::Task] {
        if cells.of(column).text.is_empty() {
            return cells.bad(column, "a name");
        }
    }
    let number = |name: Name| names[name as usize].number(owned(cells.of(name.column())));
    let names = Name::ALL.map(number);
    let status = cells.status()?;
    // Columns that no statistic uses are still checked, so that a shifted line is found.
    cells.real(Column::WallSeconds, status)?;
    cells.count(Column::Steps)?;
    Ok(Row {
        line,
        offset,
        names,
        role: cells.role()?,
        status,
        primary: cells.flag(Column::Primary)?,
        seed: cells.seed()?,
        score: cells.real(Column::Score, status)?,
        about: AboutTask {
            scale: cells.scale()?,
            higher_is_better: cells.flag(Column::HigherIsBetter)?,
            n_train: cells.count(Column::NTrain)?,
            n_dev: cells.count(Column::NDev)?,
            n_classes: cells.count(Column::NClasses)?,
            majority_score: cells.real(Column::MajorityScore, status)?,
            n_intermediate: cells.count(Column::NIntermediate)?,
        },
        training: Training {
            degenerate: cells.flag(Column::Degenerate)?,
            final_loss: cells.real(Column::FinalTrainLoss, status)?,
            n_distinct_pred: cells.count(Column::NDistinctPred)?,
        },
    })
}

fn owned(field: Field<'_>) -> Cow<'_, str> {
    if field.doubled { Cow::Owned(field.value().into_owned()) } else { Cow::Borrowed(field.text) }
}

/// The cells of one line by column; those of columns that the file lacks are empty.
struct Cells<'a>([Field<'a>; Column::COUNT]);

impl<'a> Cells<'a> {
    fn new(fields: &[Field<'a>], header: &Header) -> Self {
        let mut cells = [Field { text: "", doubled: false }; Column::COUNT];
        for (field, known) in fields.iter().zip(&header.known) {
            if let Some(column) = known {
                // Names are compared bytewise and stay as they are; spaces around a number or a word mean nothing.
                let text = if column.content() == Content::Text { field.text } else { field.text.trim() };
                cells[*column as usize] = Field { text, doubled: field.doubled };
            }
        }
        Self(cells)
    }

    fn of(&self, column: Column) -> Field<'a> {
        self.0[column as usize]
    }

    /// The error of a cell that cannot be read.
    fn bad<T>(&self, column: Column, expected: &'static str) -> Result<T, Box<Problem>> {
        let found = self.of(column).value().into_owned();
        Err(Box::new(Problem::BadCell { column: column.name(), found, expected }))
    }

    /// A finite number, or NaN for "missing": an empty cell, or `nan` and `inf` in a run that is not `ok`.
    fn real(&self, column: Column, status: Status) -> Result<f64, Box<Problem>> {
        let text = self.of(column).text;
        if text.is_empty() {
            return Ok(f64::NAN);
        }
        let Ok(value) = text.parse::<f64>() else { return self.bad(column, "a number") };
        match status {
            _ if value.is_finite() => Ok(value),
            Status::Ok => Err(Problem::NotFinite { column: column.name(), found: text.to_owned() }.into()),
            Status::Failed | Status::Timeout | Status::Running | Status::Missing => Ok(f64::NAN),
        }
    }

    /// A whole number of things; `2490.0`, which pandas writes in a column with gaps, counts as one.
    fn count(&self, column: Column) -> Result<f64, Box<Problem>> {
        match self.of(column).text {
            "" => Ok(f64::NAN),
            text => match text.parse::<f64>() {
                Ok(value) if value >= 0.0 && value.fract() == 0.0 => Ok(value),
                _ => self.bad(column, WHOLE_NUMBER),
            },
        }
    }

    fn scale(&self) -> Result<f64, Box<Problem>> {
        match self.of(Column::Scale).text {
            "" => Ok(f64::NAN),
            text => match text.parse::<f64>() {
                Ok(value) if value.is_finite() && value > 0.0 => Ok(value),
                _ => self.bad(Column::Scale, "a positive number"),
            },
        }
    }

    fn seed(&self) -> Result<i64, Box<Problem>> {
        let text = self.of(Column::Seed).text;
        if let Ok(seed) = text.parse::<i64>() {
            return Ok(seed);
        }
        // Above 2^53 a float skips whole numbers, and two seeds could become one.
        let exact = |value: &f64| value.fract() == 0.0 && value.abs() < 2f64.powi(53);
        match text.parse::<f64>().ok().filter(exact) {
            Some(value) => Ok(value as i64),
            None => self.bad(Column::Seed, WHOLE_NUMBER),
        }
    }

    fn flag(&self, column: Column) -> Result<bool, Box<Problem>> {
        match (self.of(column).text, column.content()) {
            ("", Content::Flag(default)) => Ok(default),
            (text, _) => flag(text).map_or_else(|| self.bad(column, "true, false, 1 or 0"), Ok),
        }
    }

    fn status(&self) -> Result<Status, Box<Problem>> {
        match self.of(Column::Status).text {
            "" => Ok(Status::Ok),
            word => Status::parse(word)
                .map_or_else(|| self.bad(Column::Status, "ok, failed, timeout, running or missing"), Ok),
        }
    }

    fn role(&self) -> Result<Role, Box<Problem>> {
        Role::parse(self.of(Column::Role).text)
            .map_or_else(|| self.bad(Column::Role, "target, probe or intermediate"), Ok)
    }
}

/// True or false in the spellings of pandas, R and spreadsheets.
pub(super) fn flag(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" | "1" | "1.0" => Some(true),
        "false" | "False" | "FALSE" | "0" | "0.0" => Some(false),
        _ => None,
    }
}
