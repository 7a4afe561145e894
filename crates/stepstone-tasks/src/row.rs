//! One row of a file before its label is judged, and the JSON object it may come from.

use crate::example::Text;
use serde_json::{Map, Value};

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
pub(crate) fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
