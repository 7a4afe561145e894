//! What a person sees: tables, the picture of the transfer matrix, and terminal text. Returns strings; prints nothing.

mod agreement;
mod color;
pub mod csv;
pub(crate) mod format;
mod full;
pub mod markdown;
mod matrix;
mod summary;
mod svg;
pub mod terminal;
mod words;

pub use agreement::agreement;
pub use full::report;
pub use summary::{item, summary};
pub use svg::svg;
