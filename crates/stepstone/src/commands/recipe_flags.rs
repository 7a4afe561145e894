//! The flags of a recipe: one for each value that a user may set.

use clap::builder::PossibleValuesParser;
use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Command};
use serde_json::Value;
use stepstone_train::{Key, Overrides, Preset};

/// The preset and the values given on the command line.
#[derive(Debug, Default)]
pub(crate) struct RecipeFlags {
    /// The recipe before any override.
    pub(crate) preset: Preset,
    /// Values that differ from the preset.
    pub(crate) overrides: Overrides,
}

// Not derived: a struct with one field per flag would list all keys of a recipe a second time.
impl clap::Args for RecipeFlags {
    fn augment_args(command: Command) -> Command {
        let preset = Arg::new("preset")
            .long("preset")
            .value_name("PRESET")
            .help("Starting values of the recipe: `default`, or `acl2020` (the values of that study for each task)")
            .default_value("default")
            .value_parser(PossibleValuesParser::new(Preset::NAMES));
        let flags = std::iter::once(preset).chain(Overrides::KEYS.iter().map(flag));
        command.args(flags.map(|flag| flag.help_heading("Recipe")))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// The flag of a key. Its help shows the default of preset `default`.
fn flag(key: &'static Key) -> Arg {
    let default = if key.default.is_empty() { String::new() } else { format!(" [default: {}]", key.default) };
    Arg::new(key.name)
        .long(key.name.replace('_', "-"))
        .value_name(key.name.to_uppercase())
        .help(format!("{}{default}", key.help))
        .allow_negative_numbers(true)
        .value_parser(move |text: &str| value(key, text))
}

/// Parses a value by the type of its key. Whether it is allowed depends on the whole recipe, which checks it later.
fn value(key: &Key, text: &str) -> Result<Value, String> {
    // Tried first, because a key with whole numbers refuses a float, but a key with floats accepts a whole number.
    let whole = text.parse::<u64>().map(Value::from);
    let number = || text.parse::<f64>().map(Value::from);
    let value = whole.or_else(|_| number()).unwrap_or_else(|_| Value::from(text));
    match Overrides::default().set(key.name, value.clone()) {
        Ok(()) => Ok(value),
        Err(_) => Err(format!("expected {}", key.expected)),
    }
}

impl clap::FromArgMatches for RecipeFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        let preset = matches.get_one::<String>("preset").and_then(|name| Preset::of(name));
        self.preset = preset.unwrap_or_default(); // the parser accepts no other name
        for key in Overrides::KEYS {
            if let Some(value) = matches.get_one::<Value>(key.name) {
                let wrong = |error| clap::Error::raw(ErrorKind::ValueValidation, format!("{error}\n"));
                self.overrides.set(key.name, value.clone()).map_err(wrong)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, FromArgMatches};

    fn parse(arguments: &[&str]) -> Result<RecipeFlags, clap::Error> {
        let command = RecipeFlags::augment_args(Command::new("train").no_binary_name(true));
        RecipeFlags::from_arg_matches(&command.try_get_matches_from(arguments)?)
    }

    #[test]
    fn every_value_has_a_flag_that_sets_it_as_its_example_does() {
        for key in Overrides::KEYS {
            let flag = format!("--{}", key.name.replace('_', "-"));
            let set = parse(&[&flag, key.example.trim_matches('"')]).expect(&flag).overrides;
            let Value::Object(values) = serde_json::json!(set) else { panic!("an object") };
            let named: Vec<&String> = values.iter().filter(|(_, value)| !value.is_null()).map(|(key, _)| key).collect();
            assert_eq!(named, [key.name]);
        }
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_refused_with_what_is_expected() {
        let table = [
            (["--learning-rate", "fast"], "expected a positive number"),
            (["--learning-rate", "nan"], "expected a positive number"),
            (["--batch-size", "-1"], "expected 1 to 65535"),
            (["--batch-size", "1.5"], "expected 1 to 65535"),
            (["--head", "pooled"], "expected `hf` or `linear`"),
        ];
        for (arguments, expected) in table {
            let error = parse(&arguments).expect_err(arguments[1]).to_string();
            assert!(error.contains(expected), "{arguments:?}: {error}");
        }
        assert_eq!(parse(&["--learning-rate", "-1"]).expect("a number").overrides.learning_rate, Some(-1.0));
    }
}
