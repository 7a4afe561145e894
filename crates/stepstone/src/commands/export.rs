//! `stepstone export`: a folder that transformers loads.

use crate::exit::{self, Failure};
use crate::remedy::Setting;
use std::io::Write;
use std::path::{Path, PathBuf};
use stepstone_train::find_run;

/// Write the model of a finished run as a Hugging Face folder, with a model card.
///
/// A `linear` head, for which transformers has no class, goes into head.safetensors beside the encoder.
///
/// Example: stepstone export 0123 my-rte-model
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of a finished run, or the first characters of its id in runs/
    run: PathBuf,
    /// Folder to create
    dir: PathBuf,
}

/// Exports, and prints the folder.
pub(crate) fn run(args: &Args, out: &mut impl Write) -> Result<u8, Failure> {
    find_run(&args.run, Path::new(super::STORE))
        .and_then(|run| stepstone_train::export(&run, &args.dir))
        .map_err(|error| Failure::new(format!("cannot export {}", args.run.display()), &error, &Setting::Nowhere))?;
    writeln!(out, "{}", args.dir.display()).map_err(Failure::output)?;
    Ok(exit::OK)
}
