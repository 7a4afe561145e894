//! Intermediate-task transfer learning as a command.

mod commands;
mod demo;
mod destination;
mod exit;
mod flags;
mod progress;
mod remedy;
mod stop;
mod terminal;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::env;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

/// Find out which intermediate task an encoder should be fine-tuned on before a target task.
#[derive(Parser)]
// A fixed width, so that the help is the same on every terminal and a test can check that it fits.
#[command(name = "stepstone", version, about, term_width = 80, after_long_help = exit::table())]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
#[expect(clippy::large_enum_variant, reason = "one value exists, for the length of the program")]
enum Command {
    // Help lists the commands in this order, which is the one in which a new user needs them.
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
    /// Train the run of a study that standard input describes
    #[command(name = commands::TRAIN_JOB, hide = true)]
    TrainJob,
}

fn command() -> clap::Command {
    flags::with_negative_numbers(Arguments::command())
}

/// Parses the command line. clap returns help and version as errors.
fn parse(words: &[OsString]) -> Result<Arguments, clap::Error> {
    let command = command();
    let words = flags::in_our_words(words, &command);
    let matches = command.clone().try_get_matches_from(&words);
    Arguments::from_arg_matches(&matches.map_err(|error| flags::explain(error, &command, &words))?)
}

/// Prints help, version, or what is wrong with the command line. A failed write is ignored, because the reader has closed
/// the pipe.
fn print(error: &clap::Error) {
    let plain = |word: OsString| terminal::shown(&word.to_string_lossy()) == word.to_string_lossy();
    if env::args_os().all(plain) {
        let _ = error.print(); // with the styles of clap
    } else {
        // Only a wrong command line quotes its words, so this is never help.
        let _ = write!(terminal::errors(), "{error}");
    }
}

fn main() -> ExitCode {
    let arguments = match parse(&env::args_os().collect::<Vec<_>>()) {
        Ok(arguments) => arguments,
        Err(error) => {
            print(&error);
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::OK });
        }
    };
    // If this fails, a write beyond the limit ends the process by a signal, which names itself.
    let _ = stop::fail_at_file_size_limit();
    let mut out = terminal::output();
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
    // Flushed even after an error, so that earlier output reaches the reader; the error of the command has priority.
    let flushed = out.flush().map_err(exit::Failure::output);
    match result.and_then(|code| flushed.map(|()| code)) {
        Ok(code) => ExitCode::from(code),
        // A reader such as `head` has closed the pipe: nothing failed, so nothing is printed.
        Err(failure) if failure.code == exit::OK => ExitCode::from(exit::OK),
        Err(failure) => {
            let _ = write!(terminal::errors(), "{failure}"); // if this fails, there is nowhere left to report it
            ExitCode::from(failure.code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every command with its words, including the subcommands of `tasks`.
    fn commands(command: &clap::Command, words: &str, found: &mut Vec<(String, clap::Command)>) {
        for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
            let words = format!("{words} {}", inner.get_name());
            if inner.has_subcommands() {
                commands(inner, &words, found);
            } else {
                found.push((words, inner.clone()));
            }
        }
    }

    fn all() -> Vec<(String, clap::Command)> {
        let mut found = Vec::new();
        commands(&command(), "stepstone", &mut found);
        found
    }

    #[test]
    fn the_example_of_every_command_is_a_valid_command_line() {
        for (words, command) in all() {
            let help = command.get_long_about().map(ToString::to_string).unwrap_or_default();
            let examples: Vec<&str> = help.lines().filter_map(|line| line.strip_prefix("Example: ")).collect();
            assert_eq!(examples.len(), 1, "{words}: {help}");
            assert!(examples[0].starts_with(&words), "{words}: {}", examples[0]);
            let typed: Vec<OsString> =
                examples[0].split(" > ").next().unwrap_or_default().split_whitespace().map(OsString::from).collect();
            if let Err(error) = parse(&typed) {
                panic!("{}: {error}", examples[0]);
            }
        }
    }

    #[test]
    fn help_fits_80_columns() {
        for (words, _) in all() {
            let typed: Vec<OsString> = words.split(' ').chain(["--help"]).map(OsString::from).collect();
            let help = parse(&typed).err().map(|help| help.to_string()).unwrap_or_default();
            assert!(help.contains("Usage: "), "{words}: {help}");
            let long = help.lines().find(|line| line.chars().count() > 80);
            assert_eq!(long, None, "{words}");
        }
    }
}
