//! Intermediate-task transfer learning as a command.

mod commands;
mod exit;
mod progress;
mod stop;

use clap::{Parser, Subcommand};
use std::io::{self, Write};
use std::process::ExitCode;

/// Intermediate-task transfer learning: fine-tune encoders on tasks, in f32 on this machine's cores.
#[derive(Parser)]
#[command(name = "stepstone", version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
#[expect(clippy::large_enum_variant, reason = "one value exists, for the length of the program")]
enum Command {
    Train(commands::train::Args),
    Predict(commands::predict::Args),
    Export(commands::export::Args),
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are answers, not errors; a closed pipe is not ours to report.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::OK });
        }
    };
    let mut out = io::stdout().lock();
    let result = match &arguments.command {
        Command::Train(args) => commands::train::run(args, &mut out),
        Command::Predict(args) => commands::predict::run(args, &mut out),
        Command::Export(args) => commands::export::run(args, &mut out),
    };
    let flushed = out.flush().map_err(exit::Failure::output);
    match result.and_then(|code| flushed.map(|()| code)) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            let _ = write!(io::stderr(), "{failure}"); // nobody is left to be told
            ExitCode::from(failure.code)
        }
    }
}
