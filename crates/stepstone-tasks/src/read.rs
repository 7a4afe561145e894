//! Reads the rows of a text into examples. Every bad row is collected; none is skipped silently.

use crate::error::{BadRow, DataError};
use crate::example::{Example, Text};
use crate::json_array::{Source, elements, folds, without_place};
use crate::row::{Object, Row};
use crate::task::{BadKind, Columns, Companion, Fields, KnownBad, Task, TaskHead};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

/// Whether every row must have a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Labels {
    Required,
    /// A label may be absent, empty, or hidden.
    Optional,
}

/// Values that stand for a missing label: the hub writes -1 in test splits with hidden labels; SNLI and MNLI write `-`
/// where annotators did not agree.
const HIDDEN: [&str; 2] = ["-1", "-"];

/// The examples of a file, and notes on them for the user.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) examples: Vec<Example>,
    pub(crate) notes: Vec<String>,
}

/// Reads the examples of `source`, a file of `split`; `companion` is its companion file, if the task has one.
pub(crate) fn read_rows(
    task: &Task,
    columns: &Columns,
    source: Source<'_>,
    companion: Option<Source<'_>>,
    split: &str,
    labels: Labels,
) -> Result<Rows, DataError> {
    let mut reader = Reader {
        task,
        path: source.path,
        labels,
        split,
        known_bad: task.files.known_bad.filter(|known| known.split == split),
        folds: None,
        bad: Vec::new(),
        dropped: Vec::new(),
        remarks: BTreeMap::new(),
        examples: Vec::new(),
    };
    match (task.files.companion, companion) {
        (Some(Companion::Folds), Some(metadata)) => reader.folds = Some(folds(metadata)?),
        // Rows need no labels of their own when the companion file has them.
        (Some(Companion::Labels(_)), Some(_)) => reader.labels = Labels::Optional,
        (Some(Companion::Folds | Companion::Labels(_)) | None, _) => {}
    }
    reader.all(columns, source.text);
    if let (Some(Companion::Labels(names)), Some(file)) = (task.files.companion, companion) {
        reader.label_from(file, names);
    }
    // After all rows are read: whether known bad rows are dropped or refused depends on how many there are.
    reader.forgive();
    if !reader.bad.is_empty() {
        return Err(DataError::BadRows { rows: reader.bad });
    }
    if reader.examples.is_empty() {
        return Err(DataError::NoRows { path: source.path.into() });
    }
    unique_ids(&mut reader.examples, split);
    Ok(Rows { notes: reader.notes(), examples: reader.examples })
}

/// Splits at `\n`, without a `\r` before it. An empty last line does not count.
fn split_lines(text: &str) -> Vec<&str> {
    // Only `\n` ends a row: texts may contain other line separators, such as U+2028.
    let mut lines: Vec<&str> = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).collect();
    // The text after the last newline is not a line. One empty line before it is ignored; more are bad rows.
    for _ in 0..2 {
        if lines.len() > 1 && lines.last().is_some_and(|line| line.is_empty()) {
            lines.pop();
        }
    }
    if lines == [""] { Vec::new() } else { lines }
}

/// Replaces the file's own ids by row numbers if any of them is empty or occurs twice.
fn unique_ids(examples: &mut [Example], split: &str) {
    let mut seen = HashSet::new();
    if !examples.iter().all(|example| !example.id.is_empty() && seen.insert(example.id.clone())) {
        // All ids are replaced, not only the repeated ones, so that no new id can equal an old one.
        for (row, example) in examples.iter_mut().enumerate() {
            example.id = format!("{split}-{row}");
        }
    }
}

/// Builds a row from an object by field names.
fn row_of(object: &Object<'_>, fields: &Fields<&'static str>) -> Result<Row, String> {
    let text = |name: &str| object.optional(name).ok_or_else(|| format!("no field `{name}`"));
    let first = text(fields.text)?;
    let text = match fields.pair {
        Some(pair) => Text::Pair(first, text(pair)?),
        None => Text::Single(first),
    };
    let id = fields.id.and_then(|id| object.optional(id));
    Ok(Row { id, text, label: object.optional(fields.label), remark: None })
}

struct Reader<'a> {
    task: &'a Task,
    path: &'a Path,
    labels: Labels,
    split: &'a str,
    known_bad: Option<KnownBad>,
    /// Split of each row by its id, if a metadata file assigns it.
    folds: Option<HashMap<String, String>>,
    bad: Vec<BadRow>,
    /// Bad rows of the kind that the official files are known to have.
    dropped: Vec<BadRow>,
    /// Number of rows per remark.
    remarks: BTreeMap<&'static str, usize>,
    examples: Vec<Example>,
}

impl Reader<'_> {
    fn all(&mut self, columns: &Columns, text: &str) {
        let lines: Vec<&str> = split_lines(text);
        match columns {
            Columns::Header(fields) => self.with_header(&lines, fields),
            Columns::Numbered { width, fields } => self.numbered(&lines, *width, fields),
            Columns::Json(fields) => self.json_lines(&lines, |object| row_of(object, fields)),
            Columns::JsonBy(row) => self.json_lines(&lines, row),
            Columns::JsonArray(fields) => self.json_array(text, fields),
        }
    }

    fn numbered(&mut self, lines: &[&str], width: usize, fields: &Fields<usize>) {
        let found = FoundFields { id: fields.id, text: fields.text, pair: fields.pair, label: Some(fields.label) };
        let first_width = lines.first().map_or(0, |line| line.split('\t').count());
        if self.labels == Labels::Optional && fields.label + 1 == width && first_width + 1 == width {
            // A test file may lack the last column, the label.
            self.tab_separated(lines, 0, first_width, &FoundFields { label: None, ..found });
        } else {
            self.tab_separated(lines, 0, width, &found);
        }
    }

    fn with_header(&mut self, lines: &[&str], fields: &Fields<&'static str>) {
        let Some((header, _)) = lines.split_first() else { return };
        let names: Vec<&str> = header.split('\t').collect();
        let find = |name: &str| names.iter().position(|n| *n == name);
        let mut missing: Vec<&str> = [Some(fields.text), fields.pair].into_iter().flatten().collect();
        if self.labels == Labels::Required {
            missing.push(fields.label);
        }
        // The id column is optional: rows without it are numbered.
        missing.retain(|name| find(name).is_none());
        if !missing.is_empty() {
            let problem =
                format!("the header has no column `{}`; it has `{}`", missing.join("`, `"), names.join("`, `"));
            return self.refuse(1, problem);
        }
        let numbered = FoundFields {
            id: fields.id.and_then(find),
            // The check above has found this column.
            text: find(fields.text).unwrap_or_default(),
            pair: fields.pair.and_then(find),
            label: find(fields.label),
        };
        self.tab_separated(lines, 1, names.len(), &numbered);
    }

    fn tab_separated(&mut self, lines: &[&str], first: usize, width: usize, fields: &FoundFields) {
        for (number, line) in lines.iter().enumerate().skip(first) {
            if line.is_empty() {
                self.refuse(number + 1, "an empty line, expected a row".into());
                continue;
            }
            // Quotes have no meaning in these files, and a lone `"` is part of the text.
            let cells: Vec<&str> = line.split('\t').collect();
            if cells.len() != width {
                let problem = format!("{} columns, expected {width}", cells.len());
                match self.known_bad.map(|known| known.kind) {
                    // Only set aside here; `forgive` decides once the number of such rows is known.
                    Some(BadKind::ShortRow) if cells.len() < width => {
                        self.dropped.push(BadRow { path: self.path.into(), line: number + 1, problem });
                    }
                    Some(BadKind::ShortRow) | None => self.refuse(number + 1, problem),
                }
                continue;
            }
            // Cells are not trimmed: SST-2's sentences end with a space, which byte-level tokenizers see.
            let cell = |column: Option<usize>| column.map(|c| cells[c].to_owned());
            let first = cells[fields.text].to_owned();
            let text = match cell(fields.pair) {
                Some(pair) => Text::Pair(first, pair),
                None => Text::Single(first),
            };
            self.row(number + 1, Row { id: cell(fields.id), text, label: cell(fields.label), remark: None });
        }
    }

    fn json_lines(&mut self, lines: &[&str], row: impl Fn(&Object<'_>) -> Result<Row, String>) {
        for (number, line) in lines.iter().enumerate() {
            if line.is_empty() {
                self.refuse(number + 1, "an empty line, expected a JSON object".into());
                continue;
            }
            self.json_row(number + 1, line, &row);
        }
    }

    fn json_row(&mut self, line: usize, text: &str, row: impl Fn(&Object<'_>) -> Result<Row, String>) {
        match serde_json::from_str::<Map<String, Value>>(text) {
            Ok(object) => match row(&Object(&object)) {
                Ok(row) => self.row(line, row),
                Err(problem) => self.refuse(line, problem),
            },
            Err(error) => {
                let what = without_place(&error);
                self.refuse(line, format!("{what} at column {}, expected a JSON object", error.column()));
            }
        }
    }

    fn json_array(&mut self, text: &str, fields: &Fields<&'static str>) {
        let list = match elements(Source { path: self.path, text }) {
            Ok(list) => list,
            Err(row) => return self.bad.push(row),
        };
        for (line, element) in list {
            self.json_row(line, element.get(), |object| row_of(object, fields));
        }
    }

    fn row(&mut self, line: usize, row: Row) {
        let fold = match (&self.folds, &row.id) {
            (Some(folds), Some(id)) => match folds.get(id) {
                Some(fold) => Some(fold),
                None => return self.refuse(line, format!("pair-id {id} is not in the metadata file")),
            },
            (Some(_), None) => return self.refuse(line, "no field `pair-id`".into()),
            (None, _) => None,
        };
        // Rows of other splits end here, so their defects are reported only when that split is read.
        if fold.is_some_and(|fold| fold != self.split) {
            return;
        }
        let labels = self.task.labels;
        // A model groups the scores of sequences by a fixed number; one choice too many would shift all later examples.
        if let (TaskHead::MultipleChoice, Text::Choices(choices)) = (self.task.head, &row.text)
            && choices.len() != labels.len()
        {
            return self.refuse(line, format!("{} choices, expected {}", choices.len(), labels.len()));
        }
        let declared = || format!("`{}`", labels.join("`, `"));
        let gold = match (row.label.as_deref(), self.labels) {
            (None | Some(""), Labels::Optional) => None,
            (Some(label), Labels::Optional) if HIDDEN.contains(&label) => None,
            (None | Some(""), Labels::Required) => {
                return self.refuse(line, format!("no label, expected one of {}", declared()));
            }
            (Some(label), _) => match labels.iter().position(|known| *known == label) {
                Some(index) => Some(index as u32),
                None => return self.refuse(line, unknown_label(label, &declared())),
            },
        };
        if let Some(remark) = row.remark {
            *self.remarks.entry(remark).or_default() += 1;
        }
        let id = row.id.unwrap_or_else(|| format!("{}-{}", self.split, self.examples.len()));
        self.examples.push(Example { id, text: row.text, gold });
    }

    /// Takes labels from a file with one label per line, unless every row has its own.
    fn label_from(&mut self, file: Source<'_>, names: &[&str]) {
        if self.examples.iter().all(|example| example.gold.is_some()) {
            return;
        }
        let lines = split_lines(file.text);
        let rows = self.examples.len();
        // A bad row is not in `examples`, so the counts differ anyway; the bad row is then the error to report.
        if lines.len() != rows && self.bad.is_empty() {
            let problem = format!("{} labels, but {} has {rows} rows", lines.len(), self.path.display());
            return self.bad.push(BadRow { path: file.path.into(), line: lines.len().max(1), problem });
        }
        for (number, (label, example)) in lines.iter().zip(&mut self.examples).enumerate() {
            example.gold = names.iter().position(|name| name == label).map(|index| index as u32);
            if example.gold.is_none() {
                let problem = unknown_label(label, &format!("`{}`", names.join("`, `")));
                self.bad.push(BadRow { path: file.path.into(), line: number + 1, problem });
            }
        }
    }

    /// Refuses the dropped rows if there are more than the official files are known to have.
    fn forgive(&mut self) {
        if self.dropped.len() > self.known_bad.map_or(0, |known| known.count) {
            self.bad.append(&mut self.dropped);
            self.bad.sort_by_key(|row| row.line);
        }
    }

    fn notes(&self) -> Vec<String> {
        let file = self.path.display();
        let dropped = self.dropped.iter().map(|row| row.line.to_string()).collect::<Vec<_>>().join(", ");
        let dropped = (!dropped.is_empty())
            .then(|| format!("{file}: dropped lines {dropped}: too few columns, a known defect of the official file"));
        let remarks = self.remarks.iter().map(|(remark, count)| format!("{file}: {count} rows {remark}"));
        dropped.into_iter().chain(remarks).collect()
    }

    fn refuse(&mut self, line: usize, problem: String) {
        self.bad.push(BadRow { path: self.path.into(), line, problem });
    }
}

/// The message for a label that the task does not have.
fn unknown_label(label: &str, declared: &str) -> String {
    let hidden = if HIDDEN.contains(&label) { ": this looks like a hidden label of a test split" } else { "" };
    format!("label `{label}`, expected one of {declared}{hidden}")
}

/// Column numbers found in a file; None for columns that it lacks.
#[derive(Clone, Copy)]
struct FoundFields {
    id: Option<usize>,
    text: usize,
    pair: Option<usize>,
    label: Option<usize>,
}
