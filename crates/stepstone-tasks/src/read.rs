//! Rows of a text to examples. Every bad row is collected; none is skipped in silence.

use crate::error::{BadRow, DataError};
use crate::example::{Example, Text};
use crate::task::{Columns, Fields, Task};
use std::collections::HashSet;
use std::path::Path;

/// Whether every row must have a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Labels {
    Required,
    Optional,
}

/// Examples of `text`, labels required.
#[cfg(test)]
pub(crate) fn read_text(
    task: &Task,
    columns: &Columns,
    path: &Path,
    text: &str,
    split: &str,
) -> Result<Vec<Example>, DataError> {
    read_rows(task, columns, path, text, split, Labels::Required)
}

/// Examples of `text`.
pub(crate) fn read_rows(
    task: &Task,
    columns: &Columns,
    path: &Path,
    text: &str,
    split: &str,
    labels: Labels,
) -> Result<Vec<Example>, DataError> {
    let mut reader = Reader { task, path, labels, bad: Vec::new(), examples: Vec::new(), split };
    let lines: Vec<&str> = split_lines(text);
    match columns {
        Columns::Header(fields) => reader.with_header(&lines, fields),
        Columns::Numbered { width, fields } => {
            let numbered =
                FoundFields { id: fields.id, text: fields.text, pair: fields.pair, label: Some(fields.label) };
            reader.tab_separated(&lines, 0, *width, &numbered);
        }
        Columns::Json(fields) => reader.json(&lines, fields),
    }
    if !reader.bad.is_empty() {
        return Err(DataError::BadRows { rows: reader.bad });
    }
    if reader.examples.is_empty() {
        return Err(DataError::NoRows { path: path.into() });
    }
    unique_ids(&mut reader.examples, split);
    Ok(reader.examples)
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

struct Reader<'a> {
    task: &'a Task,
    path: &'a Path,
    labels: Labels,
    split: &'a str,
    bad: Vec<BadRow>,
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
                self.refuse(number + 1, format!("{} columns, expected {width}", cells.len()));
                continue;
            }
            let cell = |column: Option<usize>| column.map(|c| cells[c].to_string());
            let row = Row {
                id: cell(fields.id),
                text: cells[fields.text].to_string(),
                pair: cell(fields.pair),
                label: cell(fields.label),
            };
            self.row(number + 1, row);
        }
    }

    fn json(&mut self, lines: &[&str], fields: &Fields<&'static str>) {
        for (number, line) in lines.iter().enumerate() {
            if line.is_empty() {
                self.refuse(number + 1, "an empty line, expected a JSON object".into());
                continue;
            }
            let object = match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(line) {
                Ok(object) => object,
                Err(error) => {
                    // Its own line is always 1 here.
                    let what = error.to_string();
                    let what = what.split(" at line ").next().unwrap_or_default();
                    self.refuse(number + 1, format!("{what} at column {}, expected a JSON object", error.column()));
                    continue;
                }
            };
            let text = |name: &str| match object.get(name) {
                None | Some(serde_json::Value::Null) => None,
                Some(serde_json::Value::String(text)) => Some(text.clone()),
                Some(other) => Some(other.to_string()),
            };
            let (first, pair) = (text(fields.text), fields.pair.map(text));
            let missing = [(&first, fields.text), (&pair.clone().flatten(), fields.pair.unwrap_or_default())]
                .iter()
                .find(|(value, name)| value.is_none() && !name.is_empty())
                .map(|(_, name)| (*name).to_string());
            match (first, missing) {
                (Some(first), None) => {
                    let row = Row {
                        id: fields.id.and_then(text),
                        text: first,
                        pair: pair.flatten(),
                        label: text(fields.label),
                    };
                    self.row(number + 1, row);
                }
                (_, name) => self.refuse(number + 1, format!("no field `{}`", name.unwrap_or_default())),
            }
        }
    }

    fn row(&mut self, line: usize, row: Row) {
        let declared = || format!("`{}`", self.task.labels.join("`, `"));
        let gold = match row.label.as_deref() {
            None | Some("") if self.labels == Labels::Optional => None,
            None | Some("") => return self.refuse(line, format!("no label, expected one of {}", declared())),
            Some(label) => match self.task.labels.iter().position(|known| *known == label) {
                Some(index) => Some(index as u32),
                None => return self.refuse(line, format!("label `{label}`, expected one of {}", declared())),
            },
        };
        let text = match row.pair {
            Some(pair) => Text::Pair(row.text, pair),
            None => Text::Single(row.text),
        };
        let id = row.id.unwrap_or_else(|| format!("{}-{}", self.split, self.examples.len()));
        self.examples.push(Example { id, text, gold });
    }

    fn refuse(&mut self, line: usize, problem: String) {
        self.bad.push(BadRow { path: self.path.into(), line, problem });
    }
}

/// One row's cells.
struct Row {
    id: Option<String>,
    text: String,
    pair: Option<String>,
    label: Option<String>,
}

/// Columns that a file has.
struct FoundFields {
    id: Option<usize>,
    text: usize,
    pair: Option<usize>,
    label: Option<usize>,
}
