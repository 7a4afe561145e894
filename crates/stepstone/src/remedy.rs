//! Advice on errors, in terms of the command that the user ran.
//!
//! Libraries name only the recipe key to change and never a flag, because the command decides where the key is set.

use stepstone_study::{StudyError, table_of};
use stepstone_train::{Layer, TrainError};

/// Where the user of a command sets recipe values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Setting {
    /// With a flag of the command.
    Flag,
    /// In this table of a study file.
    Table(String),
    /// Nowhere, because the command uses a finished run.
    Nowhere,
}

/// Advice on an error of a run.
pub(crate) fn of_run(error: &TrainError, setting: &Setting) -> Option<String> {
    let advice = match (error, setting) {
        // The library gives the same advice without the flag, which it does not know.
        (TrainError::OtherRun { .. }, Setting::Flag) => {
            Some("choose another folder with --out, or move this one away".to_owned())
        }
        _ => error.hint(),
    };
    let place = error.key().and_then(|key| match setting {
        Setting::Flag => Some(format!("set it with --{}", key.replace('_', "-"))),
        Setting::Table(table) => Some(format!("set `{key}` in {table} of the study file")),
        Setting::Nowhere => None,
    });
    match (advice, place) {
        (Some(advice), Some(place)) => Some(format!("{advice}: {place}")),
        (advice, place) => advice.or(place),
    }
}

/// Advice on an error of a study, or of a run whose recipe is built from `layers`.
pub(crate) fn of_study(error: &StudyError, layers: &[Layer]) -> Option<String> {
    match error {
        // An error without a key names no place, so the table of the empty key is never shown.
        StudyError::Train(error) => of_run(error, &Setting::Table(table_of(error.key().unwrap_or_default(), layers))),
        StudyError::Recipe { source, table, .. } => of_run(source, &Setting::Table(table.clone())),
        other => other.hint(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stepstone_train::{Overrides, Source};

    fn recipe(key: &'static str) -> TrainError {
        TrainError::Recipe { key, found: "0".into(), expected: "1 or more".into() }
    }

    #[test]
    fn every_key_of_the_recipe_has_a_flag_of_train() {
        let command = crate::command();
        let train = command.find_subcommand("train").expect("a command");
        for key in Overrides::KEYS {
            let hint = of_run(&recipe(key.name), &Setting::Flag).expect("a hint");
            let flag = hint.strip_prefix("set it with --").expect("a flag");
            assert!(train.get_arguments().any(|arg| arg.get_long() == Some(flag)), "{hint}");
        }
    }

    #[test]
    fn a_user_of_a_study_is_sent_to_the_table_that_the_value_comes_from() {
        let layer = |table: &str, max_length| Layer {
            source: Source::Study(table.into()),
            overrides: Overrides { max_length, ..Overrides::default() },
        };
        let layers = [layer("[recipe]", Some(300)), layer("[recipe.target]", Some(400)), layer("[task.rte]", None)];
        let error = StudyError::Train(recipe("max_length"));
        let hint = of_study(&error, &layers).expect("a hint");
        assert_eq!(hint, "set `max_length` in [recipe.target] of the study file");
        let hint = of_study(&error, &[]).expect("a hint");
        assert_eq!(hint, "set `max_length` in [recipe] of the study file");
        assert_eq!(of_run(&recipe("max_length"), &Setting::Nowhere), None);
    }

    #[test]
    fn advice_comes_before_the_place() {
        let error = TrainError::NotFinite { step: 3, found: "the loss is NaN".into(), norms: Vec::new() };
        let hint = of_run(&error, &Setting::Flag).expect("a hint");
        assert!(hint.starts_with("log.jsonl has the steps before this one"), "{hint}");
        assert!(hint.ends_with(": set it with --learning-rate"), "{hint}");
    }
}
