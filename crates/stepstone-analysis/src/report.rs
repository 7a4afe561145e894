//! What a person sees: tables, the picture of the transfer matrix, and terminal text. Returns strings; prints nothing.

mod color;
mod format;
pub mod markdown;
mod matrix;
mod svg;
pub mod terminal;
mod words;

pub use svg::svg;
