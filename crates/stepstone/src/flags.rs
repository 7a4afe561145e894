//! Alternative names of flags, and the range of their numbers.
//!
//! Users bring names from other scripts: `--learning_rate` and `--lr` both mean `--learning-rate`. A name with a
//! slightly different meaning is not accepted; the error suggests ours. For example, `per_device_train_batch_size` of
//! transformers is multiplied by the accumulation steps, but our batch size is divided by them.

use clap::builder::ValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, Error};
use std::ffi::OsString;
use stepstone_train::Key;

/// Our flags, each with well-known names that mean the same.
const NAMES: [(&str, &[&str]); 9] = [
    ("model", &["model-name-or-path", "model-name", "encoder"]),
    ("task", &["task-name"]),
    ("data", &["data-dir"]),
    ("out", &["output-dir", "out-dir", "output"]),
    ("learning-rate", &["lr"]),
    ("epochs", &["num-train-epochs", "num-epochs"]),
    ("max-length", &["max-seq-length", "max-seq-len"]),
    ("max-train", &["max-train-samples"]),
    ("max-dev", &["max-eval-samples"]),
];

/// Largest number of threads or of concurrent runs: more than a machine has cores, fewer than a system refuses.
const MOST: u64 = 1024;
/// Longest pause between two resume points, in seconds: a year.
const LONGEST_PAUSE: u64 = 366 * 24 * 3600;

/// The command, changed to read negative numbers as numbers and not as flags, so that the error states the valid range.
pub(crate) fn with_negative_numbers(command: Command) -> Command {
    let negative = |arg: Arg| {
        let takes_value = arg.get_long().is_some() && arg.get_action().takes_values();
        // Only for flags with a value: a switch has no number to read.
        arg.allow_negative_numbers(takes_value)
    };
    command.mut_args(negative).mut_subcommands(with_negative_numbers)
}

/// The words of a command line, with every flag renamed to ours. Flags that the command lacks stay unchanged, so that
/// the error quotes what the user typed.
pub(crate) fn in_our_words(words: &[OsString], command: &Command) -> Vec<OsString> {
    let (mut command, mut flags_end) = (command, false);
    let our_word = |word: &OsString| {
        // A value that equals the name of a subcommand does no harm: no command has both values and subcommands.
        command = command.find_subcommand(word).unwrap_or(command);
        // After `--` every word is a value, even if it looks like a flag.
        flags_end |= word == "--";
        let renamed = word.to_str().filter(|_| !flags_end).and_then(|word| renamed(word, command));
        renamed.map_or_else(|| word.clone(), OsString::from)
    };
    words.iter().map(our_word).collect()
}

/// Renames `--lr=1e-5` to `--learning-rate=1e-5` if the command has that flag.
fn renamed(word: &str, command: &Command) -> Option<String> {
    let flag = word.strip_prefix("--")?;
    // Split before renaming, because an underscore in the value is part of what the user means.
    let (name, value) = flag.split_at(flag.find('=').unwrap_or(flag.len()));
    let name = name.replace('_', "-");
    let ours = NAMES.iter().find(|(_, others)| others.contains(&name.as_str())).map_or(name.as_str(), |(ours, _)| ours);
    has(command, ours).then(|| format!("--{ours}{value}"))
}

fn has(command: &Command, flag: &str) -> bool {
    command.get_arguments().any(|arg| arg.get_long() == Some(flag))
}

/// Adds our name to the error for a flag that is known from other programs.
pub(crate) fn explain(mut error: Error, command: &Command, words: &[OsString]) -> Error {
    let Some(ContextValue::String(found)) = error.get(ContextKind::InvalidArg) else { return error };
    if error.kind() != ErrorKind::UnknownArgument {
        return error;
    }
    // clap does not say which subcommand the error is from, so the words are followed down to it.
    let command = words.iter().fold(command, |command, word| command.find_subcommand(word).unwrap_or(command));
    let found = found.trim_start_matches('-').replace('_', "-");
    // clap suggests names by spelling only; the keys of the recipe list names that are spelt differently.
    let meant = Key::meant_by(&found).map(|key| key.name.replace('_', "-"));
    if let Some(ours) = meant.filter(|ours| has(command, ours)) {
        error.insert(ContextKind::SuggestedArg, ContextValue::String(format!("--{ours}")));
    }
    error
}

/// A number of threads or of concurrent runs.
pub(crate) fn count() -> ValueParser {
    ValueParser::new(|word: &str| whole(word, 1, MOST).map(|number| number as usize))
}

/// Seconds between two resume points.
pub(crate) fn seconds() -> ValueParser {
    ValueParser::new(|word: &str| whole(word, 0, LONGEST_PAUSE))
}

/// A restart number.
pub(crate) fn seed() -> ValueParser {
    ValueParser::new(|word: &str| whole(word, 0, u64::MAX))
}

/// The number of an example, from 0.
pub(crate) fn index() -> ValueParser {
    ValueParser::new(|word: &str| whole(word, 0, u64::from(u32::MAX)).map(|number| number as usize))
}

fn whole(word: &str, least: u64, most: u64) -> Result<u64, String> {
    // Too large for a u64, negative and out of range all get the message that states the range.
    let number = word.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("expected a whole number from {least} to {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_outside_their_range_say_what_is_expected() {
        let table = [("1", Ok(1)), ("1024", Ok(1024)), ("0", Err(())), ("-1", Err(())), ("1025", Err(()))];
        let more = [("1.5", Err(())), ("many", Err(())), ("99999999999999999999", Err(())), ("", Err(()))];
        for (word, want) in table.into_iter().chain(more) {
            let want = want.map_err(|()| "expected a whole number from 1 to 1024".to_owned());
            assert_eq!(whole(word, 1, MOST), want, "{word}");
        }
    }

    #[test]
    fn every_name_means_exactly_one_flag() {
        let mut names: Vec<&str> =
            NAMES.iter().flat_map(|(ours, others)| others.iter().chain([ours])).copied().collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn flags_are_renamed_where_the_command_has_them_and_up_to_the_end_of_flags() {
        let line = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        let table = [
            ("stepstone train --lr 1e-5 --max_seq_length=9", "stepstone train --learning-rate 1e-5 --max-length=9"),
            ("stepstone train --model_name_or_path m --unknown_flag", "stepstone train --model m --unknown_flag"),
            ("stepstone run s.toml --lr 1 --output_dir o", "stepstone run s.toml --lr 1 --out o"),
            ("stepstone tasks show copa --data_dir d", "stepstone tasks show copa --data d"),
            ("stepstone export a -- --output_dir", "stepstone export a -- --output_dir"),
        ];
        for (typed, want) in table {
            assert_eq!(in_our_words(&line(typed), &crate::command()), line(want), "{typed}");
        }
    }
}
