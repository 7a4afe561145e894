//! Rows of a text to examples. Every bad row is collected; none is skipped in silence.

use crate::error::{BadRow, DataError};
use crate::example::{Example, Text};
use crate::task::{BadKind, Columns, Companion, Fields, KnownBad, Task, TaskHead};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

/// Whether every row must have a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Labels {
    Required,
    Optional,
}

/// A file of rows, decoded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) path: &'a Path,
    pub(crate) text: &'a str,
}

/// What one row of a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The row's own number, if it has one.
    pub id: Option<String>,
    /// The input.
    pub text: Text,
    /// The label as written; None where there is none.
    pub label: Option<String>,
    /// What the user should know of such rows.
    pub remark: Option<&'static str>,
}

/// A JSON object of one row, read field by field.
#[derive(Debug)]
pub struct Object<'a>(pub &'a Map<String, Value>);

impl Object<'_> {
    /// The text of a field that must be there and not empty.
    ///
    /// # Errors
    /// Says which field is missing or empty.
    pub fn text(&self, field: &str) -> Result<String, String> {
        match self.optional(field) {
            None => Err(format!("no field `{field}`")),
            Some(text) if text.trim().is_empty() => Err(format!("field `{field}` is empty, expected text")),
            Some(text) => Ok(text),
        }
    }

    /// The text of a field, numbers and truth values as JSON writes them; None if it is absent or null.
    pub fn optional(&self, field: &str) -> Option<String> {
        match self.0.get(field) {
            None | Some(Value::Null) => None,
            Some(value) => Some(text_of(value)),
        }
    }

    /// The objects or texts of a list.
    ///
    /// # Errors
    /// Says that the field is no list.
    pub fn list(&self, field: &str) -> Result<&[Value], String> {
        match self.0.get(field) {
            Some(Value::Array(list)) => Ok(list),
            Some(_) => Err(format!("field `{field}` is no list")),
            None => Err(format!("no field `{field}`")),
        }
    }
}

/// A text without its quotes; anything else as JSON writes it.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Examples of a file, and what the user should know of them.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) examples: Vec<Example>,
    pub(crate) notes: Vec<String>,
}

/// Examples of `source`, which is of `split`; `companion` is the file beside it, for tasks that have one.
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
        known_bad: task.known_bad.filter(|known| known.split == split),
        folds: None,
        bad: Vec::new(),
        dropped: Vec::new(),
        remarks: BTreeMap::new(),
        examples: Vec::new(),
    };
    let own_labels = match (task.companion, companion) {
        (Some(Companion::Folds), Some(metadata)) => {
            reader.folds = Some(folds(metadata)?);
            true
        }
        (Some(Companion::Labels(_)), Some(_)) => false,
        (Some(Companion::Folds | Companion::Labels(_)) | None, _) => true,
    };
    if !own_labels {
        reader.labels = Labels::Optional;
    }
    let lines: Vec<&str> = split_lines(source.text);
    match columns {
        Columns::Header(fields) => reader.with_header(&lines, fields),
        Columns::Numbered { width, fields } => {
            let numbered =
                FoundFields { id: fields.id, text: fields.text, pair: fields.pair, label: Some(fields.label) };
            reader.tab_separated(&lines, 0, *width, &numbered);
        }
        Columns::Json(fields) => reader.json_lines(&lines, |object| row_of(object, fields)),
        Columns::JsonBy(row) => reader.json_lines(&lines, row),
        Columns::JsonArray(fields) => reader.json_array(source.text, fields),
    }
    if let (Some(Companion::Labels(names)), Some(file)) = (task.companion, companion) {
        reader.label_from(file, names);
    }
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

/// Lines end at `\n`; one `\r` before it is cut; an empty last line is none.
fn split_lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).collect();
    // What follows the last newline is no line; one empty line before it is accepted, more are bad rows.
    for _ in 0..2 {
        if lines.len() > 1 && lines.last().is_some_and(|line| line.is_empty()) {
            lines.pop();
        }
    }
    if lines == [""] { Vec::new() } else { lines }
}

/// The file's own numbers serve as ids only if no two rows share one.
fn unique_ids(examples: &mut [Example], split: &str) {
    let mut seen = HashSet::new();
    if !examples.iter().all(|example| !example.id.is_empty() && seen.insert(example.id.clone())) {
        for (row, example) in examples.iter_mut().enumerate() {
            example.id = format!("{split}-{row}");
        }
    }
}

/// The row of an object whose fields are all named.
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

/// The elements of a JSON array with the lines on which they start.
fn elements(source: Source<'_>) -> Result<Vec<(usize, &RawValue)>, BadRow> {
    let list: Vec<&RawValue> = serde_json::from_str(source.text).map_err(|error| BadRow {
        path: source.path.into(),
        line: error.line().max(1),
        problem: format!("{}, expected a JSON array of objects", without_place(&error)),
    })?;
    let (mut line, mut at) = (1, 0);
    let numbered = list.into_iter().map(|element| {
        // The element is a part of the text.
        let start = element.get().as_ptr() as usize - source.text.as_ptr() as usize;
        line += source.text[at..start].matches('\n').count();
        at = start;
        (line, element)
    });
    Ok(numbered.collect())
}

/// The split of each `pair-id`.
fn folds(metadata: Source<'_>) -> Result<HashMap<String, String>, DataError> {
    #[derive(serde::Deserialize)]
    struct Entry {
        #[serde(rename = "pair-id")]
        pair_id: Value,
        misc: Misc,
    }
    #[derive(serde::Deserialize)]
    struct Misc {
        fold1: String,
    }
    let refused = |row: BadRow| DataError::BadRows { rows: vec![row] };
    let mut folds = HashMap::new();
    for (line, element) in elements(metadata).map_err(refused)? {
        let entry: Entry = serde_json::from_str(element.get()).map_err(|error| {
            let problem = format!("{}, expected `pair-id` and `misc.fold1`", without_place(&error));
            refused(BadRow { path: metadata.path.into(), line, problem })
        })?;
        folds.insert(text_of(&entry.pair_id), entry.misc.fold1);
    }
    Ok(folds)
}

/// What serde_json says, without its own line and column, which count within one row.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().to_owned()
}

struct Reader<'a> {
    task: &'a Task,
    path: &'a Path,
    labels: Labels,
    split: &'a str,
    known_bad: Option<KnownBad>,
    /// Split of each row by its id, where another file tells it.
    folds: Option<HashMap<String, String>>,
    bad: Vec<BadRow>,
    /// Bad rows of a kind that the task is known to have.
    dropped: Vec<BadRow>,
    /// How many rows each remark is true of.
    remarks: BTreeMap<&'static str, usize>,
    examples: Vec<Example>,
}

impl Reader<'_> {
    fn with_header(&mut self, lines: &[&str], fields: &Fields<&'static str>) {
        let Some((header, _)) = lines.split_first() else { return };
        let names: Vec<&str> = header.split('\t').collect();
        let find = |name: &str| names.iter().position(|n| *n == name);
        let mut missing: Vec<&str> = [Some(fields.text), fields.pair].into_iter().flatten().collect();
        if self.labels == Labels::Required {
            missing.push(fields.label);
        }
        missing.retain(|name| find(name).is_none());
        if !missing.is_empty() {
            let problem =
                format!("the header has no column `{}`, it has `{}`", missing.join("`, `"), names.join("`, `"));
            return self.refuse(1, problem);
        }
        let numbered = FoundFields {
            id: fields.id.and_then(find),
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
            let cells: Vec<&str> = line.split('\t').collect();
            if cells.len() != width {
                let problem = format!("{} columns, expected {width}", cells.len());
                match self.known_bad.map(|known| known.kind) {
                    Some(BadKind::ShortRow) if cells.len() < width => {
                        self.dropped.push(BadRow { path: self.path.into(), line: number + 1, problem });
                    }
                    Some(BadKind::ShortRow) | None => self.refuse(number + 1, problem),
                }
                continue;
            }
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
        if fold.is_some_and(|fold| fold != self.split) {
            return;
        }
        let labels = self.task.labels;
        if let (TaskHead::MultipleChoice, Text::Choices(choices)) = (self.task.head, &row.text)
            && choices.len() != labels.len()
        {
            return self.refuse(line, format!("{} choices, expected {}", choices.len(), labels.len()));
        }
        let declared = || format!("`{}`", labels.join("`, `"));
        let gold = match row.label.as_deref() {
            None | Some("") if self.labels == Labels::Optional => None,
            None | Some("") => return self.refuse(line, format!("no label, expected one of {}", declared())),
            Some(label) => match labels.iter().position(|known| *known == label) {
                Some(index) => Some(index as u32),
                None => return self.refuse(line, format!("label `{label}`, expected one of {}", declared())),
            },
        };
        if let Some(remark) = row.remark {
            *self.remarks.entry(remark).or_default() += 1;
        }
        let id = row.id.unwrap_or_else(|| format!("{}-{}", self.split, self.examples.len()));
        self.examples.push(Example { id, text: row.text, gold });
    }

    /// Labels of rows that have none, from a file of one label per line. Rows that say their own need no such file.
    fn label_from(&mut self, file: Source<'_>, names: &[&str]) {
        if self.examples.iter().all(|example| example.gold.is_some()) {
            return;
        }
        let lines = split_lines(file.text);
        let rows = self.examples.len();
        if lines.len() != rows && self.bad.is_empty() {
            let problem = format!("{} labels, but {} has {rows} rows", lines.len(), self.path.display());
            return self.bad.push(BadRow { path: file.path.into(), line: lines.len().max(1), problem });
        }
        for (number, (label, example)) in lines.iter().zip(&mut self.examples).enumerate() {
            example.gold = names.iter().position(|name| name == label).map(|index| index as u32);
            if example.gold.is_none() {
                let problem = format!("label `{label}`, expected one of `{}`", names.join("`, `"));
                self.bad.push(BadRow { path: file.path.into(), line: number + 1, problem });
            }
        }
    }

    /// More bad rows than are known of the official files are ordinary bad rows.
    fn forgive(&mut self) {
        if self.dropped.len() > self.known_bad.map_or(0, |known| known.count) {
            self.bad.append(&mut self.dropped);
            self.bad.sort_by_key(|row| row.line);
        }
    }

    fn notes(&self) -> Vec<String> {
        let file = self.path.display();
        let dropped = self.dropped.iter().map(|row| row.line.to_string()).collect::<Vec<_>>().join(", ");
        let dropped = (!dropped.is_empty()).then(|| {
            format!(
                "{file}: dropped lines {dropped}, which have too few columns, as the official file is known to have"
            )
        });
        let remarks = self.remarks.iter().map(|(remark, count)| format!("{file}: {count} rows {remark}"));
        dropped.into_iter().chain(remarks).collect()
    }

    fn refuse(&mut self, line: usize, problem: String) {
        self.bad.push(BadRow { path: self.path.into(), line, problem });
    }
}

/// Columns that a file has.
struct FoundFields {
    id: Option<usize>,
    text: usize,
    pair: Option<usize>,
    label: Option<usize>,
}
