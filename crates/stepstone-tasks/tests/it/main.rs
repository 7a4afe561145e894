//! Tests of task files and tokenizer folders through the public API. They are one program, because every test program
//! links every dependency again.

mod catalogue;
mod files;
mod forms;
mod tokenizers;
