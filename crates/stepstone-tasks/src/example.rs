//! One example of a task, as strings.

/// What a model is asked, and the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// Unique in its split: the file's own index, or `<split>-<row>` counted from 0.
    pub id: String,
    /// The input.
    pub text: Text,
    /// Index of the gold label; None in files without labels.
    pub gold: Option<u32>,
}

/// The input form.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Text {
    Single(String),
    Pair(String, String),
    /// One pair for each choice, two or more: what is asked, and the choice.
    Choices(Vec<(String, String)>),
}
