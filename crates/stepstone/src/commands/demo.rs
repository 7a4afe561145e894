//! `stepstone demo`: a complete study on made-up tasks, without downloads.

use crate::commands::run;
use crate::commands::study::StudyArgs;
use crate::demo;
use crate::exit::{self, Failure};
use crate::progress::say;
use crate::terminal::Terminal;
use std::io::Write;
use std::path::PathBuf;
use stepstone_study::{EXPIRY, StudyError};

/// Run a complete study in a minute: a small random encoder, three made-up tasks, a report.
///
/// Nothing is downloaded. The encoder is random and the tasks are made up, so the demo shows no transfer. It shows each
/// step of a study and every file that a study writes.
///
/// Example: stepstone demo
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder to create
    #[arg(long, default_value = "stepstone-demo")]
    out: PathBuf,
}

/// Creates encoder and data, runs the study, and says which files to look at.
pub(crate) fn run(args: &Args, out: &mut Terminal<impl Write>) -> Result<u8, Failure> {
    let folder = &args.out;
    let failure = |error: StudyError| Failure::study("cannot create the demo".into(), &error);
    // `run` only checks the folder of the results, but encoder, data and study file are written beside it.
    let free = demo::is_free(folder).map_err(|source| failure(StudyError::Create { path: folder.clone(), source }))?;
    if !free {
        return Err(failure(StudyError::Exists { path: folder.clone() }));
    }
    demo::make(folder).map_err(|error| failure(StudyError::Train(error.into())))?;
    let study = folder.join("study.toml");
    say(&format!(
        "Created a random encoder (2 layers of width 64) and three made-up tasks, named\nlike real ones, in {}.\n\
         Now running `stepstone run {}`:\n",
        folder.display(),
        study.display()
    ));
    let study = StudyArgs { study, model: None, data: None, out: None };
    // The same function as for a study of the user, so the demo cannot show anything that `run` does not do.
    let arguments = run::Args { study, slots: None, resume_seconds: 60, lease_seconds: EXPIRY.as_secs() };
    let code = run::run(&arguments, out)?;
    out.flush().map_err(Failure::output)?; // the report must appear before the remarks on it
    if code != exit::OK {
        return Ok(code); // the run has already reported what is left or failed
    }
    say("\nThis demo shows no transfer: the encoder is untrained, and the tasks share only words.");
    say("Next: `stepstone init` writes a study file for your own encoder and tasks.");
    Ok(code)
}
