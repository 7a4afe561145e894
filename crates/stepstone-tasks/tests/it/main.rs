//! Task files and tokenizer folders from the outside. One program, for each costs a link of every dependency.

mod catalogue;
mod files;
mod forms;
mod tokenizers;
