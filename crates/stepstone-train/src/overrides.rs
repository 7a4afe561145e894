//! The values of a recipe that a user may set: one row each. Study files, flags, the template of `stepstone init` and
//! `docs/recipe.md` follow from the rows.

use crate::error::TrainError;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use stepstone_models::HeadKind;

/// Everything known about one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Its name in files; its flag has hyphens in place of underscores.
    pub name: &'static str,
    /// Description in one line.
    pub help: &'static str,
    /// The value in preset `default`, in words; empty if this value is an alternative to another that has a default.
    pub default: &'static str,
    /// A value, as TOML.
    pub example: &'static str,
    /// Allowed values, in words.
    pub expected: &'static str,
    /// Names in other programs.
    pub also: &'static [&'static str],
}

impl Key {
    /// The key that a user who wrote `name` meant: spelt differently, or known to other programs by that name.
    pub fn meant_by(name: &str) -> Option<&'static Self> {
        // Flags have hyphens where keys have underscores.
        let name = name.to_lowercase().replace('-', "_");
        Overrides::KEYS.iter().find(|key| key.name == name || key.also.contains(&name.as_str()))
    }
}

/// Generates, from one row per value, everything that would otherwise list the values again.
macro_rules! values {
    ($($name:ident: $type:ty {
        help: $help:literal,
        default: $default:literal,
        example: $example:literal,
        check: $check:expr, $expected:literal,
        also: $also:expr,
    })*) => {
        /// Values that a user may set; None leaves the preset's. Names are those of the transformers `Trainer` if the
        /// meaning is the same.
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Overrides {
            $(#[doc = $help] pub $name: Option<$type>,)*
        }

        impl Overrides {
            /// Every value, in the order of the fields.
            pub const KEYS: &'static [Key] = &[$(Key {
                name: stringify!($name),
                help: $help,
                default: $default,
                example: $example,
                expected: $expected,
                also: &$also,
            }),*];

            /// Sets the value named `key`.
            ///
            /// # Errors
            /// If there is no such key, or `value` has another type.
            pub fn set<'d, D: Deserializer<'d>>(&mut self, key: &str, value: D) -> Result<(), D::Error> {
                match key {
                    $(stringify!($name) => self.$name = Some(<$type>::deserialize(value)?),)*
                    unknown => return Err(D::Error::unknown_field(unknown, &[$(stringify!($name)),*])),
                }
                Ok(())
            }

            /// Copies the values of a layer and records their source.
            fn overlay(&mut self, layer: &Layer, sources: &mut Sources) {
                $(if layer.overrides.$name.is_some() {
                    self.$name = layer.overrides.$name;
                    sources.insert(stringify!($name), layer.source.clone());
                })*
            }

            /// Checks the values by themselves: each one, and the pairs that exclude each other.
            ///
            /// # Errors
            /// If a value is impossible for every encoder and task, or two values are set that exclude each other.
            pub fn check(&self) -> Result<(), TrainError> {
                $(
                    let holds: fn($type) -> bool = $check;
                    if let Some(value) = self.$name.filter(|value| !holds(*value)) {
                        return Err(wrong(stringify!($name), &format!("{value:?}"), $expected));
                    }
                )*
                self.check_pairs()
            }
        }
    };
}

values! {
    head: HeadKind {
        help: "Head: `hf` (as in transformers) or `linear` (as in the paper)",
        default: "hf",
        example: "\"hf\"",
        check: |_| true, "`hf` or `linear`",
        also: ["head_kind", "classifier"],
    }
    learning_rate: f64 {
        help: "Peak learning rate",
        default: "2e-5; 5e-5 if hidden_size < 768",
        example: "2e-5",
        check: positive, "a positive number",
        also: ["lr", "peak_learning_rate", "max_lr"],
    }
    weight_decay: f64 {
        help: "Decoupled weight decay, not applied to biases and layer norms",
        default: "0.01",
        example: "0.01",
        check: not_negative, "0 or more",
        also: ["wd", "decay", "l2"],
    }
    max_grad_norm: f64 {
        help: "Global gradient norm above which gradients are scaled down; 0 turns this off",
        default: "1",
        example: "1.0",
        check: not_negative, "0 or more",
        also: ["max_gradient_norm", "clip", "grad_clip", "gradient_clip", "gradient_clipping", "clip_grad_norm"],
    }
    classifier_dropout: f64 {
        help: "Dropout before the last linear layer",
        default: "from config.json",
        example: "0.1",
        // At 1 nothing would be kept, and the factor 1 / keep probability would be infinite.
        check: |share| (0.0..1.0).contains(&share), "0 to below 1",
        also: ["dropout", "classifier_dropout_prob", "head_dropout"],
    }
    warmup_ratio: f64 {
        help: "Share of all steps that are warm-up",
        default: "0.1",
        example: "0.1",
        check: |share| (0.0..=1.0).contains(&share), "0 to 1",
        also: ["warmup", "warmup_proportion", "warmup_fraction"],
    }
    warmup_steps: u64 {
        help: "Warm-up steps, instead of a ratio",
        default: "",
        example: "100",
        check: |_| true, "0 to the steps of the run",
        also: ["num_warmup_steps"],
    }
    epochs: f64 {
        help: "Epochs",
        default: "3, raised until 1,500 steps, at most 20",
        example: "3",
        check: positive, "a positive number",
        also: ["num_train_epochs", "num_epochs", "max_epochs", "train_epochs", "n_epochs"],
    }
    max_steps: u64 {
        help: "Steps, instead of epochs",
        default: "",
        example: "1000",
        // The step number is a 32-bit word of the counter behind every random number.
        check: |steps| (1..1 << 32).contains(&steps), "1 to 4294967295",
        also: ["steps", "total_steps", "num_steps", "num_train_steps", "max_train_steps"],
    }
    batch_size: usize {
        help: "Examples per step",
        default: "16",
        example: "16",
        // A dropout key has 16 bits for the number of a sequence within its step.
        check: |examples| (1..=0xffff).contains(&examples), "1 to 65535",
        also: ["per_device_train_batch_size", "per_gpu_train_batch_size", "train_batch_size", "batch", "bs"],
    }
    gradient_accumulation_steps: usize {
        help: "Parts into which a batch is split to save memory; the update is the same",
        default: "1",
        example: "1",
        check: |parts| parts > 0, "1 to batch_size",
        also: ["gradient_accumulation", "grad_accumulation_steps", "accumulation_steps", "grad_accum"],
    }
    max_length: usize {
        help: "Maximum number of tokens per input; longer inputs are truncated",
        default: "256",
        example: "256",
        // The special tokens at both ends and one token of text.
        check: |tokens| tokens >= 3, "3 to the positions of the encoder",
        also: ["max_seq_length", "max_seq_len", "max_sequence_length", "max_len", "seq_len", "sequence_length"],
    }
    evaluations: u64 {
        help: "Evaluations in a run, evenly spaced",
        default: "10",
        example: "10",
        check: |count| count > 0, "1 or more",
        also: ["num_evaluations", "evals", "num_evals", "validations"],
    }
    patience: u64 {
        help: "Stop after more than this many evaluations in a row without a better score",
        default: "never",
        example: "3",
        check: |_| true, "0 or more",
        also: ["early_stopping_patience", "early_stopping"],
    }
    max_train: usize {
        help: "Maximum number of training examples, chosen by a hash of their ids",
        default: "all",
        example: "20000",
        check: |examples| examples > 0, "1 or more",
        also: ["max_train_samples", "max_train_examples", "train_size", "n_train"],
    }
    max_dev: usize {
        help: "Maximum number of dev examples, chosen by a hash of their ids",
        default: "all",
        example: "1000",
        check: |examples| examples > 0, "1 or more",
        also: ["max_eval_samples", "max_val_samples", "max_dev_examples", "max_eval_examples", "dev_size", "n_dev"],
    }
}

fn positive(value: f64) -> bool {
    value > 0.0 && value.is_finite()
}

fn not_negative(value: f64) -> bool {
    value >= 0.0 && value.is_finite()
}

/// Overrides written in one place. If several layers set a value, the last one wins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// The place.
    pub source: Source,
    /// The values.
    pub overrides: Overrides,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The preset.
    Preset,
    /// A table of a study file, such as `[recipe.target]`.
    Study(String),
    /// A flag of the command line.
    Flag,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Preset => f.write_str("preset"),
            Self::Study(table) => f.write_str(table),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// Where each value came from.
pub(crate) type Sources = BTreeMap<&'static str, Source>;

impl Overrides {
    /// Merges `layers` and finds the source of every value.
    ///
    /// # Errors
    /// If a value fails its check, or one layer sets two that exclude each other.
    pub(crate) fn merge(layers: &[Layer]) -> Result<(Self, Sources), TrainError> {
        // A value that no layer sets comes from the preset.
        let mut sources: Sources = Self::KEYS.iter().map(|key| (key.name, Source::Preset)).collect();
        let mut merged = Self::default();
        for layer in layers {
            let set = &layer.overrides;
            // A later layer replaces both of a pair: max_steps in [task.rte] must override epochs in [recipe].
            if set.epochs.is_some() || set.max_steps.is_some() {
                (merged.epochs, merged.max_steps) = (None, None);
            }
            if set.warmup_ratio.is_some() || set.warmup_steps.is_some() {
                (merged.warmup_ratio, merged.warmup_steps) = (None, None);
            }
            merged.overlay(layer, &mut sources);
        }
        merged.check()?;
        // Of each pair only the one in force has a source.
        sources.remove(if merged.max_steps.is_some() { "epochs" } else { "max_steps" });
        sources.remove(if merged.warmup_steps.is_some() { "warmup_ratio" } else { "warmup_steps" });
        Ok((merged, sources))
    }

    fn check_pairs(&self) -> Result<(), TrainError> {
        if self.epochs.is_some() && self.max_steps.is_some() {
            return Err(wrong("max_steps", "set beside epochs", "one of the two"));
        }
        if self.warmup_ratio.is_some() && self.warmup_steps.is_some() {
            return Err(wrong("warmup_steps", "set beside warmup_ratio", "one of the two"));
        }
        Ok(())
    }
}

pub(crate) fn wrong(key: &'static str, found: &str, expected: &str) -> TrainError {
    TrainError::Recipe { key, found: found.into(), expected: expected.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;
    use std::collections::BTreeSet;

    /// Overrides with only `key` set, to its example.
    fn only(key: &Key) -> Overrides {
        let value: Value = serde_json::from_str(key.example).expect(key.name);
        let mut overrides = Overrides::default();
        overrides.set(key.name, value).expect(key.name);
        overrides
    }

    fn layer(table: &str, overrides: Overrides) -> Layer {
        Layer { source: Source::Study(table.into()), overrides }
    }

    #[test]
    fn keys_are_the_names_of_all_values_in_their_order() {
        let Value::Object(fields) = serde_json::json!(Overrides::default()) else { panic!("an object") };
        let names: Vec<&str> = Overrides::KEYS.iter().map(|key| key.name).collect();
        assert_eq!(fields.keys().collect::<Vec<_>>(), names);
    }

    #[test]
    fn every_example_passes_the_check_of_its_own_value() {
        for key in Overrides::KEYS {
            let (merged, sources) = Overrides::merge(&[layer("[recipe]", only(key))]).expect(key.name);
            assert_eq!(merged, only(key));
            assert_eq!(sources[key.name], Source::Study("[recipe]".into()), "{}", key.name);
        }
    }

    #[test]
    fn values_of_another_type_and_unknown_keys_are_refused() {
        for key in Overrides::KEYS {
            assert!(Overrides::default().set(key.name, Value::from("many")).is_err(), "{}", key.name);
            assert!(Overrides::default().set(key.name, Value::Null).is_err(), "{}", key.name);
        }
        let error = Overrides::default().set("lr", Value::from(1.0)).expect_err("unknown").to_string();
        assert!(error.starts_with("unknown field `lr`, expected one of `head`, `learning_rate`"), "{error}");
    }

    #[test]
    fn impossible_values_are_refused_with_what_is_expected() {
        let table = [
            ("learning_rate", Value::from(0.0), "`learning_rate` is 0.0, expected a positive number"),
            ("learning_rate", Value::from(-1), "`learning_rate` is -1.0, expected a positive number"),
            ("weight_decay", Value::from(-0.1), "`weight_decay` is -0.1, expected 0 or more"),
            ("max_grad_norm", Value::from(-1), "`max_grad_norm` is -1.0, expected 0 or more"),
            ("classifier_dropout", Value::from(1), "`classifier_dropout` is 1.0, expected 0 to below 1"),
            ("warmup_ratio", Value::from(1.5), "`warmup_ratio` is 1.5, expected 0 to 1"),
            ("epochs", Value::from(0), "`epochs` is 0.0, expected a positive number"),
            ("max_steps", Value::from(0), "`max_steps` is 0, expected 1 to 4294967295"),
            ("batch_size", Value::from(65536), "`batch_size` is 65536, expected 1 to 65535"),
            ("gradient_accumulation_steps", Value::from(0), "is 0, expected 1 to batch_size"),
            ("max_length", Value::from(2), "`max_length` is 2, expected 3 to the positions of the encoder"),
            ("evaluations", Value::from(0), "`evaluations` is 0, expected 1 or more"),
            ("max_train", Value::from(0), "`max_train` is 0, expected 1 or more"),
            ("max_dev", Value::from(0), "`max_dev` is 0, expected 1 or more"),
        ];
        for (key, value, message) in table {
            let mut overrides = Overrides::default();
            overrides.set(key, value).expect(key);
            let error = Overrides::merge(&[layer("[recipe]", overrides)]).expect_err(key).to_string();
            assert!(error.ends_with(message), "{error}");
        }
        for value in [f64::NAN, f64::INFINITY] {
            let overrides = Overrides { learning_rate: Some(value), ..Overrides::default() };
            assert!(Overrides::merge(&[layer("[recipe]", overrides)]).is_err(), "{value}");
        }
    }

    #[test]
    fn a_name_means_one_key_at_most() {
        let mut names = BTreeSet::new();
        for key in Overrides::KEYS {
            for name in std::iter::once(&key.name).chain(key.also) {
                assert!(names.insert(*name), "{name} stands twice");
                assert_eq!(Key::meant_by(name), Some(key));
            }
        }
        assert_eq!(Key::meant_by("Learning-Rate").map(|key| key.name), Some("learning_rate"));
        assert_eq!(Key::meant_by("momentum"), None);
    }

    #[test]
    fn the_documentation_has_the_table() {
        let row = |key: &Key| {
            let default = if key.default.is_empty() { "" } else { key.default };
            let also: Vec<String> = key.also.iter().map(|name| format!("`{name}`")).collect();
            format!("| `{}` | {} | {} | {default} | {} |\n", key.name, key.help, key.expected, also.join(", "))
        };
        let rows: String = Overrides::KEYS.iter().map(row).collect();
        let table = format!("| key | what it is | values | default | other names |\n|---|---|---|---|---|\n{rows}");
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/recipe.md");
        let text = std::fs::read_to_string(path).expect("docs/recipe.md");
        assert!(text.ends_with(&table), "docs/recipe.md must end with this table:\n{table}");
    }

    proptest! {
        /// Any keys in any layers; of two that exclude each other, at most one is drawn.
        #[test]
        fn each_value_is_that_of_the_last_layer_that_sets_it(drawn in prop::collection::vec(any::<u16>(), 0..5)) {
            let keys: Vec<&Key> =
                Overrides::KEYS.iter().filter(|key| !["max_steps", "warmup_steps"].contains(&key.name)).collect();
            let sets = |bits: u16, number: usize| bits >> number & 1 == 1;
            let layers: Vec<Layer> = drawn.iter().enumerate().map(|(place, bits)| {
                let mut overrides = Overrides::default();
                for (number, key) in keys.iter().enumerate().filter(|(number, _)| sets(*bits, *number)) {
                    // Every check accepts the numbers 3 to 6; checks of shares accept 0.3 to 0.6.
                    let value = if key.name == "head" { "hf".into() } else if number == 4 || number == 5 {
                        Value::from(0.3 + 0.1 * place as f64)
                    } else {
                        Value::from(3 + place)
                    };
                    overrides.set(key.name, value).expect(key.name);
                }
                layer(&place.to_string(), overrides)
            }).collect();
            let (merged, sources) = Overrides::merge(&layers).expect("merges");
            let json = |overrides: &Overrides, key: &str| serde_json::json!(overrides)[key].clone();
            for (number, key) in keys.iter().enumerate() {
                let last = drawn.iter().rposition(|bits| sets(*bits, number));
                let want = last.map_or(Value::Null, |place| json(&layers[place].overrides, key.name));
                prop_assert_eq!(json(&merged, key.name), want, "{}", key.name);
                let source = last.map_or(Source::Preset, |place| Source::Study(place.to_string()));
                prop_assert_eq!(&sources[key.name], &source, "{}", key.name);
            }
        }
    }
}
