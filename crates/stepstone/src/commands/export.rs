//! `stepstone export`: a folder that transformers loads.

use crate::exit::{self, Failure};
use std::io::Write;
use std::path::{Path, PathBuf};
use stepstone_train::find_run;

/// Write the model of a finished run as a Hugging Face folder, with a model card.
///
/// A `linear` head, for which transformers has no class, goes into head.safetensors beside the encoder.
///
/// Example: stepstone export 0123 my-rte-model
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// Folder of a finished run, or the beginning of its id in runs/
    run: PathBuf,
    /// Folder to make
    dir: PathBuf,
}

/// Exports and says where to.
pub(crate) fn run(args: &Args, out: &mut impl Write) -> Result<u8, Failure> {
    find_run(&args.run, Path::new(super::STORE))
        .and_then(|run| stepstone_train::export(&run, &args.dir))
        .map_err(|error| Failure::new(format!("cannot export {}", args.run.display()), &error))?;
    writeln!(out, "{}", args.dir.display()).map_err(Failure::output)?;
    Ok(exit::OK)
}
