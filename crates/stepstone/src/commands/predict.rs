//! `stepstone predict`: labels and probabilities for new inputs.

use crate::exit::{self, Failure};
use crate::flags;
use crate::remedy::Setting;
use std::io::Write;
use std::path::{Path, PathBuf};
use stepstone_train::find_run;

/// Label the rows of a file with a finished run, as JSON lines.
///
/// The file has the format of the task's own files, plain or compressed; labels may be absent.
///
/// Example: stepstone predict 0123 new.tsv > labels.jsonl
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of a finished run, or the first characters of its id in runs/
    run: PathBuf,
    /// Rows to label
    file: PathBuf,
    /// Threads [default: all cores]
    #[arg(long, value_parser = flags::count())]
    threads: Option<usize>,
}

/// Writes one JSON object per row to `out`.
pub(crate) fn run(args: &Args, out: &mut impl Write) -> Result<u8, Failure> {
    let threads = args.threads.unwrap_or_else(super::all_cores);
    let predictions = find_run(&args.run, Path::new(super::STORE))
        .and_then(|run| stepstone_train::predict(&run, &args.file, threads))
        .map_err(|error| Failure::new(format!("cannot label {}", args.file.display()), &error, &Setting::Nowhere))?;
    // All rows are predicted before the first is printed, so a bad last row leaves no partial output.
    for prediction in predictions {
        let line = serde_json::to_string(&prediction).map_err(|error| Failure::output(error.into()))?;
        writeln!(out, "{line}").map_err(Failure::output)?;
    }
    Ok(exit::OK)
}
