//! TOML as typed values; every error names file, line and column.

use crate::error::StudyError;
use serde::Deserialize;
use std::ops::Range;
use std::path::Path;
use stepstone_train::Key;
use toml::de::{DeTable, DeValue, ValueDeserializer};

/// A TOML file that is being read. Values are taken out of its tables, so whatever is left over is an unknown key.
pub(crate) struct Reader<'a> {
    pub(crate) path: &'a Path,
    pub(crate) text: &'a str,
}

impl Reader<'_> {
    pub(crate) fn error(&self, span: Range<usize>, problem: String, hint: Option<String>) -> StudyError {
        let before = &self.text[..span.start.min(self.text.len())];
        let line = before.matches('\n').count() + 1;
        // Columns count characters, as editors do, not bytes.
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        StudyError::File { path: self.path.into(), line, column, problem, hint }
    }

    pub(crate) fn toml(&self, error: &toml::de::Error, place: Range<usize>) -> StudyError {
        self.error(error.span().unwrap_or(place), error.message().trim().replace('\n', ", "), None)
    }

    pub(crate) fn missing(&self, place: Range<usize>, key: &str, table: &str) -> StudyError {
        let hint = "`stepstone init` writes a study file with every key".to_owned();
        self.error(place, format!("`{key}` is missing in {table}"), Some(hint))
    }

    /// Refuses keys that are not among `keys`.
    pub(crate) fn known(&self, table: &DeTable<'_>, name: &str, keys: &[&str]) -> Result<(), StudyError> {
        let Some(unknown) = table.keys().find(|key| !keys.contains(&key.get_ref().as_ref())) else { return Ok(()) };
        let found = unknown.get_ref();
        // A name that other programs use has an exact answer; only without one is the spelling compared.
        let meant = Key::meant_by(found).map(|key| key.name).filter(|meant| keys.contains(meant));
        let hint = did_you_mean(meant.or_else(|| nearest(found, keys)), keys);
        Err(self.error(unknown.span(), format!("unknown key `{found}` in {name}"), Some(hint)))
    }

    pub(crate) fn value<T: for<'d> Deserialize<'d>>(
        &self,
        table: &mut DeTable<'_>,
        key: &str,
    ) -> Result<Option<T>, StudyError> {
        let Some(value) = table.remove(key) else { return Ok(None) };
        let span = value.span();
        let wrong = |error: toml::de::Error| self.error(error.span().unwrap_or(span), wrong_type(key, &error), None);
        T::deserialize(ValueDeserializer::from(value)).map(Some).map_err(wrong)
    }

    pub(crate) fn table<'i>(
        &self,
        parent: &mut DeTable<'i>,
        key: &str,
    ) -> Result<Option<(DeTable<'i>, Range<usize>)>, StudyError> {
        let Some(value) = parent.remove(key) else { return Ok(None) };
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(table) => Ok(Some((table, span))),
            other => Err(self.error(span, format!("`{key}` is a {}, expected a table", other.type_str()), None)),
        }
    }
}

/// Says what a value is and what it should be, in words that need no knowledge of Rust.
pub(crate) fn wrong_type(key: &str, error: &toml::de::Error) -> String {
    let message = error.message().trim().replace("expected u64", "expected a whole number, 0 or more");
    let message = message.replace("expected f64", "expected a number");
    format!("`{key}`: {message}")
}

/// The known key most similar to `found`, if any is similar enough.
fn nearest<'k>(found: &str, keys: &[&'k str]) -> Option<&'k str> {
    let similarity = |key: &str| strsim::jaro_winkler(found, key);
    let best = keys.iter().copied().max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
    best.filter(|key| similarity(key) > 0.7)
}

fn did_you_mean(meant: Option<&str>, keys: &[&str]) -> String {
    let keys = keys.join(", ");
    meant.map_or_else(|| format!("keys: {keys}"), |meant| format!("did you mean `{meant}`? keys: {keys}"))
}
