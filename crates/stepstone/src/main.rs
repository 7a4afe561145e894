//! Intermediate-task transfer learning as a command.

mod commands;
mod demo;
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
    Demo(commands::demo::Args),
    Init(commands::init::Args),
    Plan(commands::plan::Args),
    Run(commands::run::Args),
    Status(commands::status::Args),
    Report(commands::report::Args),
    Worker(commands::worker::Args),
    Analyze(commands::analyze::Args),
    Tasks(commands::tasks::Args),
    Train(commands::train::Args),
    Predict(commands::predict::Args),
    Export(commands::export::Args),
    Bench(commands::bench::Args),
    /// Train the run of a study that standard input names
    #[command(name = commands::TRAIN_JOB, hide = true)]
    TrainJob,
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
        Command::Demo(args) => commands::demo::run(args, &mut out),
        Command::Init(args) => commands::init::run(args, &mut out),
        Command::Plan(args) => commands::plan::run(args, &mut out),
        Command::Run(args) => commands::run::run(args, &mut out),
        Command::Status(args) => commands::status::run(args, &mut out),
        Command::Report(args) => commands::report::run(args, &mut out),
        Command::Analyze(args) => commands::analyze::run(args, &mut out),
        Command::Worker(args) => commands::worker::run(args, &mut out),
        Command::TrainJob => commands::train_job::run(&mut out),
        Command::Tasks(args) => commands::tasks::run(args, &mut out),
        Command::Train(args) => commands::train::run(args, &mut out),
        Command::Predict(args) => commands::predict::run(args, &mut out),
        Command::Export(args) => commands::export::run(args, &mut out),
        Command::Bench(args) => commands::bench::run(args, &mut out),
    };
    let flushed = out.flush().map_err(exit::Failure::output);
    match result.and_then(|code| flushed.map(|()| code)) {
        Ok(code) => ExitCode::from(code),
        Err(failure) if failure.code == exit::OK => ExitCode::from(exit::OK),
        Err(failure) => {
            let _ = write!(io::stderr(), "{failure}"); // nobody is left to be told
            ExitCode::from(failure.code)
        }
    }
}
