//! Reads the splits of a task from its data folder.

use crate::error::DataError;
use crate::example::Example;
use crate::files::Files;
use crate::json_array::Source;
use crate::read::{Labels, read_rows};
use crate::task::{Columns, Companion, Task};
use crate::text::read_file;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Train and dev of one task.
#[derive(Debug, Clone)]
pub struct TaskData {
    /// Training examples in file order.
    pub train: Vec<Example>,
    /// Dev examples in file order.
    pub dev: Vec<Example>,
    /// Parts of the dev split that also get their own scores; empty if the split has only one part.
    pub dev_parts: Vec<DevPart>,
    /// Labels in class-id order.
    pub labels: Vec<String>,
    /// blake3 over the decompressed bytes of the files read, in order; 64 hex digits.
    pub digest: String,
    /// The files read.
    pub files: Vec<PathBuf>,
    /// Notes for the user: rows that were dropped or reinterpreted.
    pub notes: Vec<String>,
}

impl TaskData {
    /// A warning if all dev examples have the same label.
    pub fn one_class_note(&self) -> Option<String> {
        let first = self.dev.first()?.gold?;
        self.dev.iter().all(|example| example.gold == Some(first)).then(|| {
            let (count, label) = (self.dev.len(), &self.labels[first as usize]);
            format!("all {count} dev examples have the label `{label}`, so their scores cannot tell models apart")
        })
    }

    /// Keeps at most `max_train` and `max_dev` examples, in file order. A hash of the ids selects them, so that each
    /// smaller subset is contained in every larger one and all restarts see the same examples.
    pub fn limit(&mut self, max_train: Option<usize>, max_dev: Option<usize>) {
        if let Some(kept) = max_train.and_then(|max| subset(&self.train, "train", max)) {
            self.train = select(&self.train, &kept);
        }
        if let Some(kept) = max_dev.and_then(|max| subset(&self.dev, "dev", max)) {
            for part in &mut self.dev_parts {
                // `kept` is sorted, so a part's new bounds are the counts of kept rows before its old ones.
                let before = |row: usize| kept.partition_point(|kept| *kept < row);
                part.range = before(part.range.start)..before(part.range.end);
            }
            self.dev = select(&self.dev, &kept);
        }
    }
}

/// The rows of the `max` examples with the smallest hashes, in file order; None if all are kept.
fn subset(examples: &[Example], split: &str, max: usize) -> Option<Vec<usize>> {
    if examples.len() <= max {
        return None;
    }
    // The hash covers the split, so that the ids 0, 1, 2 ... of two splits do not select the same rows.
    // Files are often sorted, by label or by source, so their first rows would not be a fair sample.
    let hash = |row: usize| *blake3::hash(format!("{split} {}", examples[row].id).as_bytes()).as_bytes();
    let mut rows: Vec<([u8; 32], usize)> = (0..examples.len()).map(|row| (hash(row), row)).collect();
    rows.sort_unstable();
    let mut kept: Vec<usize> = rows[..max].iter().map(|(_, row)| *row).collect();
    kept.sort_unstable();
    Some(kept)
}

fn select(examples: &[Example], rows: &[usize]) -> Vec<Example> {
    rows.iter().map(|row| examples[*row].clone()).collect()
}

/// A named range of dev examples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevPart {
    /// For example `matched`.
    pub name: &'static str,
    /// Its examples.
    pub range: Range<usize>,
}

/// Reads the train and dev splits of a task from `data`, which holds one folder per task. `files` replaces the official
/// files; so can a `stepstone.toml` in `data`, but `files` wins.
///
/// # Errors
/// If the folder or a file is missing or unreadable, or if any row is bad; the error holds all bad rows of the file.
pub fn load(task: &'static Task, data: &Path, files: &Files) -> Result<TaskData, DataError> {
    if !data.is_dir() {
        return Err(DataError::NoData { task: task.name, data: data.into() });
    }
    let files = files.or(&Files::of_folder(task, data)?);
    let mut reading = Reading { task, hasher: blake3::Hasher::new(), files: Vec::new(), notes: Vec::new() };
    let train = reading.split(&reading.path(data, files.train.as_ref(), task.files.train)?, "train")?;
    let (mut dev, mut dev_parts) = (Vec::new(), Vec::new());
    for (name, path) in reading.dev_paths(data, &files)? {
        let mut part = reading.split(&path, "dev")?;
        if let Some(name) = name {
            // Each part numbers its rows from 0; the prefix keeps ids unique within the dev split.
            part.iter_mut().for_each(|example| example.id = format!("{name}-{}", example.id));
            dev_parts.push(DevPart { name, range: dev.len()..dev.len() + part.len() });
        }
        dev.append(&mut part);
    }
    Ok(TaskData {
        train,
        dev,
        dev_parts,
        labels: task.labels.iter().map(ToString::to_string).collect(),
        digest: reading.hasher.finalize().to_hex().to_string(),
        files: reading.files,
        notes: reading.notes,
    })
}

/// State while the files of a task are read.
struct Reading {
    task: &'static Task,
    hasher: blake3::Hasher,
    files: Vec<PathBuf>,
    notes: Vec<String>,
}

impl Reading {
    /// The file of a split: `mapped`, or the first of `names` that exists in the folder of the task.
    fn path(&self, data: &Path, mapped: Option<&PathBuf>, names: &[&str]) -> Result<PathBuf, DataError> {
        if let Some(mapped) = mapped {
            let path = data.join(mapped);
            let (folder, name) =
                (path.parent().unwrap_or(data), path.file_name().unwrap_or_default().to_string_lossy());
            // Compressed variants of the name count, too, as for official files.
            return first_existing(folder, &[&name]).map_err(|_| DataError::Missing { path: path.clone() });
        }
        let task = self.task;
        let tried = || task.files.folders.iter().map(ToString::to_string).collect();
        let folder = task.files.folders.iter().map(|name| data.join(name)).find(|folder| folder.is_dir());
        let folder =
            folder.ok_or_else(|| DataError::NoFolder { task: task.name, data: data.into(), tried: tried() })?;
        first_existing(&folder, names)
    }

    /// The files of the dev split; with the names of its parts if it has several.
    fn dev_paths(&self, data: &Path, files: &Files) -> Result<Vec<(Option<&'static str>, PathBuf)>, DataError> {
        let parts = self.task.files.dev;
        let several = parts.len() > 1;
        // One replacement file is a whole dev split without parts, even for a task with several.
        if let [only] = files.dev.as_slice() {
            return Ok(vec![(None, self.path(data, Some(only), &[])?)]);
        }
        if !files.dev.is_empty() && files.dev.len() != parts.len() {
            let (task, found, expected) = (self.task.name, files.dev.len(), parts.len());
            return Err(DataError::DevFiles { task, found, expected });
        }
        let paths = parts.iter().enumerate().map(|(number, (name, names))| {
            Ok((several.then_some(*name), self.path(data, files.dev.get(number), names)?))
        });
        paths.collect()
    }

    fn split(&mut self, path: &Path, split: &str) -> Result<Vec<Example>, DataError> {
        let task = self.task;
        let text = read_file(path, &mut self.hasher)?;
        // The companion is hashed right after its file, so the order within the digest is fixed.
        let beside = self.companion(path)?;
        let companion = beside.as_ref().map(|(path, text)| Source { path, text });
        let source = Source { path, text: &text };
        let rows = read_rows(task, layout_of(task, path, &text), source, companion, split, Labels::Required)?;
        self.notes.extend(rows.notes);
        self.files.push(path.into());
        self.files.extend(beside.map(|(path, _)| path));
        Ok(rows.examples)
    }

    /// The companion file of `path` and its text.
    fn companion(&mut self, path: &Path) -> Result<Option<(PathBuf, String)>, DataError> {
        let Some(companion) = self.task.files.companion else { return Ok(None) };
        let (folder, name) = (path.parent().unwrap_or(Path::new("")), plain_name(path));
        let found = match companion {
            Companion::Folds => {
                let stem = name.strip_suffix("_data.json").unwrap_or(&name);
                Some(first_existing(folder, &[&format!("{stem}_metadata.json")])?)
            }
            Companion::Labels(_) => {
                let stem = name.strip_suffix(".jsonl").unwrap_or(&name);
                // Rows may have their own labels, so this file may be missing; a row without a label is then an error.
                first_existing(folder, &[&format!("{stem}-labels.lst")]).ok()
            }
        };
        found.map(|path| read_file(&path, &mut self.hasher).map(|text| (path, text))).transpose()
    }
}

/// Reads a file in one of the task's layouts, with or without labels.
///
/// # Errors
/// As [`load`].
pub fn load_prediction_file(task: &'static Task, path: &Path) -> Result<Vec<Example>, DataError> {
    let text = read_file(path, &mut blake3::Hasher::new())?;
    let source = Source { path, text: &text };
    // A companion file holds labels or splits, which predictions do not need.
    Ok(read_rows(task, layout_of(task, path, &text), source, None, "row", Labels::Optional)?.examples)
}

fn first_existing(folder: &Path, names: &[&str]) -> Result<PathBuf, DataError> {
    let plain = names.iter().map(ToString::to_string);
    let all: Vec<String> = plain.flat_map(|name| [name.clone(), format!("{name}.gz"), format!("{name}.zst")]).collect();
    all.iter().map(|name| folder.join(name)).find(|path| path.is_file()).ok_or_else(|| DataError::NoFile {
        folder: folder.into(),
        tried: names.iter().map(ToString::to_string).collect(),
    })
}

/// A file's name without its compression suffix.
fn plain_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.strip_suffix(".gz").or(name.strip_suffix(".zst")).unwrap_or(&name).to_owned()
}

/// The first layout that the file's first line matches; otherwise the last one for its extension; otherwise the task's
/// last one.
fn layout_of(task: &'static Task, path: &Path, text: &str) -> &'static Columns {
    let first_line = text.lines().next().unwrap_or_default();
    let name = plain_name(path);
    // The first line is stronger evidence than the extension, which users may change.
    let shown = task.files.layouts.iter().find(|layout| layout.columns.shows_in(first_line));
    // Of two layouts with one extension, the last is the one that no first line can show (CoLA's, without a header).
    let named = || task.files.layouts.iter().rfind(|layout| name.ends_with(&format!(".{}", layout.extension)));
    &shown.or_else(named).unwrap_or(&task.files.layouts[task.files.layouts.len() - 1]).columns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example::Text;

    fn data() -> TaskData {
        let examples = |split: &str, count: usize| {
            let example = |row: usize| Example {
                id: format!("{split}-{row}"),
                text: Text::Single(format!("text {row}")),
                gold: Some(0),
            };
            (0..count).map(example).collect::<Vec<_>>()
        };
        let part = |name, range| DevPart { name, range };
        TaskData {
            train: examples("train", 50),
            dev: examples("dev", 30),
            dev_parts: vec![part("matched", 0..10), part("mismatched", 10..30)],
            labels: vec!["0".into(), "1".into()],
            digest: String::new(),
            files: Vec::new(),
            notes: Vec::new(),
        }
    }

    #[test]
    fn smaller_subsets_lie_inside_larger_ones_and_keep_file_order() {
        let limited = |max_train| {
            let mut data = data();
            data.limit(Some(max_train), None);
            data.train
        };
        for (small, large) in [(0, 1), (7, 31), (31, 49), (49, 50), (50, 99)] {
            let (small, large) = (limited(small), limited(large));
            assert!(small.iter().all(|example| large.contains(example)), "{} in {}", small.len(), large.len());
            let row = |example: &Example| data().train.iter().position(|other| other == example);
            assert!(small.windows(2).all(|pair| row(&pair[0]) < row(&pair[1])));
        }
        assert_eq!((limited(0).len(), limited(7).len(), limited(99).len()), (0, 7, 50));
    }

    #[test]
    fn parts_of_a_limited_dev_split_hold_the_examples_they_held_before() {
        let (whole, mut limited) = (data(), data());
        limited.limit(None, Some(13));
        assert_eq!(limited.dev.len(), 13);
        assert_eq!(limited.train.len(), 50);
        for (part, before) in limited.dev_parts.iter().zip(&whole.dev_parts) {
            assert!(!part.range.is_empty(), "{part:?}");
            let inside = |example: &Example| whole.dev[before.range.clone()].contains(example);
            assert!(limited.dev[part.range.clone()].iter().all(inside), "{part:?}");
        }
    }

    /// Pins the definition: a different selection would change every score under the same limit.
    #[test]
    fn the_examples_whose_hashes_are_smallest_stay() {
        let (mut limited, mut by_hash) = (data(), data().train);
        by_hash.sort_by_key(|example| *blake3::hash(format!("train {}", example.id).as_bytes()).as_bytes());
        limited.limit(Some(7), None);
        assert!(by_hash[..7].iter().all(|example| limited.train.contains(example)), "{:?}", limited.train);
    }
}
