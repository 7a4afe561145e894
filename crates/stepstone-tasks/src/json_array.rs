//! JSON arrays with the line number of each element, and the metadata file in this form.

use crate::error::{BadRow, DataError};
use crate::row::text_of;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::path::Path;

/// A file and its decoded text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) path: &'a Path,
    pub(crate) text: &'a str,
}

/// The elements of a JSON array, each with the line it starts on.
pub(crate) fn elements(source: Source<'_>) -> Result<Vec<(usize, &RawValue)>, BadRow> {
    let list: Vec<&RawValue> = serde_json::from_str(source.text).map_err(|error| BadRow {
        path: source.path.into(),
        line: error.line().max(1),
        problem: format!("{}, expected a JSON array of objects", without_place(&error)),
    })?;
    let (mut line, mut at) = (1, 0);
    let numbered = list.into_iter().map(|element| {
        // Each element borrows from the text, so the difference of the addresses is its offset.
        let start = element.get().as_ptr() as usize - source.text.as_ptr() as usize;
        // Only the newlines since the last element are counted, which keeps large files linear.
        line += source.text[at..start].matches('\n').count();
        at = start;
        (line, element)
    });
    Ok(numbered.collect())
}

/// The split of each `pair-id`.
pub(crate) fn folds(metadata: Source<'_>) -> Result<HashMap<String, String>, DataError> {
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

/// The message of serde_json without its position, which counts from the start of the row and not of the file.
pub(crate) fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().to_owned()
}
