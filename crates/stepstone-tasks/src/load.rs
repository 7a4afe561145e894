//! A task's splits from its data folder.

use crate::error::DataError;
use crate::example::Example;
use crate::read::{Labels, read_rows};
use crate::task::{Columns, Task};
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
    /// Parts of the dev split that are scored by themselves, too; empty where there is one part.
    pub dev_parts: Vec<DevPart>,
    /// Labels in class-id order.
    pub labels: Vec<String>,
    /// blake3 over the decompressed bytes of the files read, in order; 64 hex digits.
    pub digest: String,
    /// The files read.
    pub files: Vec<PathBuf>,
}

impl TaskData {
    /// Keeps at most so many examples of each split, in file order. Which ones stay is fixed by a hash of their ids, so
    /// that a smaller subset lies inside every larger one and all restarts see the same.
    pub fn limit(&mut self, max_train: Option<usize>, max_dev: Option<usize>) {
        if let Some(kept) = max_train.and_then(|max| subset(&self.train, "train", max)) {
            self.train = select(&self.train, &kept);
        }
        if let Some(kept) = max_dev.and_then(|max| subset(&self.dev, "dev", max)) {
            for part in &mut self.dev_parts {
                let before = |row: usize| kept.partition_point(|kept| *kept < row);
                part.range = before(part.range.start)..before(part.range.end);
            }
            self.dev = select(&self.dev, &kept);
        }
    }
}

/// The rows of the `max` examples whose hashes are smallest, in file order; None if all stay.
fn subset(examples: &[Example], split: &str, max: usize) -> Option<Vec<usize>> {
    if examples.len() <= max {
        return None;
    }
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

/// Reads a task's train and dev split from the folder that holds one folder per task.
///
/// # Errors
/// If the folder or a file is missing or unreadable, or if any row is bad; all bad rows of a file are in the error.
pub fn load(task: &'static Task, data: &Path) -> Result<TaskData, DataError> {
    if !data.is_dir() {
        return Err(DataError::NoData { task: task.name, data: data.into() });
    }
    let tried = || task.folders.iter().map(ToString::to_string).collect();
    let folder = task.folders.iter().map(|name| data.join(name)).find(|folder| folder.is_dir());
    let folder = folder.ok_or_else(|| DataError::NoFolder { task: task.name, data: data.into(), tried: tried() })?;
    let mut hasher = blake3::Hasher::new();
    let mut files = Vec::new();
    let mut read = |names: &[&str], split: &str| {
        let path = first_existing(&folder, names)?;
        let examples = read_file(&path, &mut hasher)
            .and_then(|text| read_rows(task, layout_of(task, &path, &text), &path, &text, split, Labels::Required))?;
        files.push(path);
        Ok::<_, DataError>(examples)
    };
    let train = read(task.train, "train")?;
    let (mut dev, mut dev_parts) = (Vec::new(), Vec::new());
    for (name, names) in task.dev {
        let mut part = read(names, "dev")?;
        let start = dev.len();
        if task.dev.len() > 1 {
            part.iter_mut().for_each(|example| example.id = format!("{name}-{}", example.id));
            dev_parts.push(DevPart { name, range: start..start + part.len() });
        }
        dev.append(&mut part);
    }
    let labels = task.labels.iter().map(ToString::to_string).collect();
    Ok(TaskData { train, dev, dev_parts, labels, digest: hasher.finalize().to_hex().to_string(), files })
}

/// Reads a file in one of the task's layouts, labels or none.
///
/// # Errors
/// As [`load`].
pub fn load_prediction_file(task: &'static Task, path: &Path) -> Result<Vec<Example>, DataError> {
    let text = read_file(path, &mut blake3::Hasher::new())?;
    read_rows(task, layout_of(task, path, &text), path, &text, "row", Labels::Optional)
}

fn first_existing(folder: &Path, names: &[&str]) -> Result<PathBuf, DataError> {
    let plain = names.iter().map(ToString::to_string);
    let all: Vec<String> = plain.flat_map(|name| [name.clone(), format!("{name}.gz"), format!("{name}.zst")]).collect();
    all.iter().map(|name| folder.join(name)).find(|path| path.is_file()).ok_or_else(|| DataError::NoFile {
        folder: folder.into(),
        tried: names.iter().map(ToString::to_string).collect(),
    })
}

/// The first layout that the first line shows; else the last for this file's extension; else the task's last.
fn layout_of(task: &'static Task, path: &Path, text: &str) -> &'static Columns {
    let first_line = text.lines().next().unwrap_or_default();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.strip_suffix(".gz").or(name.strip_suffix(".zst")).unwrap_or(&name);
    let shown = task.layouts.iter().find(|layout| layout.columns.shows_in(first_line));
    let named = || task.layouts.iter().rfind(|layout| name.ends_with(&format!(".{}", layout.extension)));
    &shown.or_else(named).unwrap_or(&task.layouts[task.layouts.len() - 1]).columns
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
}
