//! `stepstone export`: a folder that transformers loads.

use crate::exit::{self, Failure};
use std::io::Write;
use std::path::PathBuf;

/// Write the model of a finished run as a Hugging Face folder, with a model card.
///
/// Example: stepstone export runs/0123456789abcdef my-rte-model
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// Folder of a finished run
    run: PathBuf,
    /// Folder to make
    dir: PathBuf,
}

/// Exports and says where to.
pub(crate) fn run(args: &Args, out: &mut impl Write) -> Result<u8, Failure> {
    stepstone_train::export(&args.run, &args.dir)
        .map_err(|error| Failure::new(format!("cannot export {}", args.run.display()), &error))?;
    writeln!(out, "{}", args.dir.display()).map_err(Failure::output)?;
    Ok(exit::OK)
}
