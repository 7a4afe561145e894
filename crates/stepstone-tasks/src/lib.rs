//! Task files to examples to features; the catalogue of tasks; metrics.
//!
//! A task is one row of data ([`Task`]); nothing else knows a task by name. The way of one example: a line of a file
//! -> [`Example`] (texts and gold) -> [`Feature`] (token ids). This crate knows no engine.

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
