//! One example of a task, as strings.

/// One input and its gold label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// Unique within its split: the file's own index, or `<split>-<row>` with rows counted from 0.
    pub id: String,
    /// The input.
    pub text: Text,
    /// Index of the gold label; None in files without labels.
    pub gold: Option<u32>,
}

/// The text of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Text {
    Single(String),
    Pair(String, String),
    /// One pair per choice: the question and the choice. There are at least two.
    Choices(Vec<(String, String)>),
}
