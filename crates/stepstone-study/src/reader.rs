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

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(text: &str) -> Reader<'_> {
        Reader { path: Path::new("study.toml"), text }
    }

    fn parse(text: &str) -> DeTable<'_> {
        DeTable::parse(text).expect("TOML").into_inner()
    }

    #[test]
    fn lines_and_columns_count_from_one_and_columns_count_characters() {
        let text = "a = 1\n# ä ö\nnäme = 2";
        for (found, place) in [("a =", "1:1"), ("1\n", "1:5"), ("# ä", "2:1"), ("ö", "2:5"), ("= 2", "3:6")] {
            let start = text.find(found).expect(found);
            let error = reader(text).error(start..start + 1, "wrong".into(), None);
            assert_eq!(error.to_string(), format!("study.toml:{place}: wrong"), "{found}");
        }
        // TOML reports an unexpected end behind the last byte.
        let behind = reader(text).error(text.len() + 5..text.len() + 6, "ends".into(), None);
        assert_eq!(behind.to_string(), "study.toml:3:9: ends");
    }

    #[test]
    fn an_unknown_key_is_answered_by_its_meaning_then_by_its_spelling_and_else_by_the_list() {
        let keys = ["learning_rate", "epochs", "max_length"];
        for (text, meant) in [
            ("lr = 1", Some("learning_rate")),
            ("epoch = 1", Some("epochs")),
            ("max_lenght = 1", Some("max_length")),
            ("zzz = 1", None),
        ] {
            let error = reader(text).known(&parse(text), "[recipe]", &keys).expect_err(text);
            let hint = error.hint().expect("a hint");
            assert_eq!(hint.contains("did you mean"), meant.is_some(), "{text}: {hint}");
            assert!(meant.is_none_or(|meant| hint.contains(&format!("did you mean `{meant}`?"))), "{text}: {hint}");
            assert!(hint.ends_with("keys: learning_rate, epochs, max_length"), "{text}: {hint}");
        }
        reader("").known(&parse("epochs = 1"), "[recipe]", &keys).expect("known");
    }

    #[test]
    fn a_value_is_taken_out_of_its_table_whether_or_not_it_has_the_right_type() {
        let text = "restarts = 3\nname = 4\n[study]\nx = 1";
        let (reader, mut table) = (reader(text), parse(text));
        assert_eq!(reader.value::<u64>(&mut table, "restarts").expect("a number"), Some(3));
        assert_eq!(reader.value::<u64>(&mut table, "restarts").expect("absent"), None);
        let wrong = reader.value::<String>(&mut table, "name").expect_err("a number").to_string();
        assert_eq!(wrong, "study.toml:2:8: `name`: invalid type: integer `4`, expected a string");
        let (inner, _) = reader.table(&mut table, "study").expect("a table").expect("there");
        assert_eq!((inner.len(), table.len()), (1, 0), "nothing is left that could be called unknown");
    }
}
