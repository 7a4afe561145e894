//! Output for people: tables, the picture of the transfer matrix, and terminal text. Returns strings; prints nothing.

mod agreement;
mod color;
pub mod csv;
mod full;
mod markdown;
mod matrix;
mod summary;
mod svg;
mod terminal;
mod words;

pub use agreement::agreement;
pub use full::report;
pub use summary::{item, summary};
pub use svg::svg;
pub use terminal::{Color, Layout};

#[cfg(test)]
mod tests;
