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
