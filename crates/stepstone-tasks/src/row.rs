//! One row of a file before its label is checked, and the JSON object it may come from.

use crate::example::Text;
use serde_json::{Map, Value};

/// The contents of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The row's own number, if it has one.
    pub id: Option<String>,
    /// The input.
    pub text: Text,
    /// The label as written; None if the row has no label.
    pub label: Option<String>,
    /// A note for the user on rows of this kind.
    pub remark: Option<&'static str>,
}

/// A JSON object of one row, read field by field.
#[derive(Debug)]
pub struct Object<'a>(pub &'a Map<String, Value>);

impl Object<'_> {
    /// The text of a required field, which must not be empty.
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

    /// A field as text, with numbers and booleans as in JSON; None if it is absent or null.
    pub fn optional(&self, field: &str) -> Option<String> {
        match self.0.get(field) {
            None | Some(Value::Null) => None,
            Some(value) => Some(text_of(value)),
        }
    }

    /// The elements of a list.
    ///
    /// # Errors
    /// Says that the field is not a list.
    pub fn list(&self, field: &str) -> Result<&[Value], String> {
        match self.0.get(field) {
            Some(Value::Array(list)) => Ok(list),
            Some(_) => Err(format!("field `{field}` is not a list")),
            None => Err(format!("no field `{field}`")),
        }
    }
}

/// A string without its quotes; any other value as JSON.
pub(crate) fn text_of(value: &Value) -> String {
    // Files write labels and ids as strings, numbers or booleans; the catalogue lists labels as text.
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
