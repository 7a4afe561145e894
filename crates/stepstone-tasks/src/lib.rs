//! Reads task files into examples, tokenizes examples into features, and computes metrics; holds the task catalogue.
//!
//! A task is one row of data ([`Task`]); no other code depends on a task's name. One example goes from a line of a file
//! to an [`Example`] (texts and gold label) to a [`Feature`] (token ids). This crate does not depend on the engine.

mod catalogue;
mod error;
mod example;
mod files;
mod foreign;
mod json_array;
mod load;
mod metric;
mod read;
mod row;
mod task;
mod text;
mod tokenizer;

pub use catalogue::{UnknownTask, find, tasks};
pub use error::{BadRow, DataError};
pub use example::{Example, Text};
pub use files::Files;
pub use foreign::{Compression, Damage, Foreign};
pub use load::{DevPart, TaskData, load, load_prediction_file};
pub use metric::{Metric, NamedScore};
pub use row::{Object, Row};
pub use task::{BadKind, Columns, Companion, Fields, Hub, KnownBad, Layout, Task, TaskFiles, TaskHead};
pub use tokenizer::{Feature, Pieces, Tokenizer, TokenizerError, TokenizerFamily};
