//! `stepstone init`: a study file to start from.

use crate::exit::{self, Failure};
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use stepstone_study::StudyError;
use stepstone_train::{Key, Overrides};

/// The template: every key, with its default or an example.
const TEMPLATE: &str = include_str!("study.toml");
/// Placeholder in the template for the values of a recipe.
const VALUES: &str = "# {values}\n";
/// Column in which the comments of all values start.
// The longest example, `# gradient_accumulation_steps = 1`, has 33 characters.
const COMMENT_COLUMN: usize = 35;

/// Write a commented study.toml to start from.
///
/// Example: stepstone init my-study
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder to write it to
    #[arg(default_value = ".")]
    dir: PathBuf,
}

/// Writes the file, and prints its path.
pub(crate) fn run(args: &Args, out: &mut impl Write) -> Result<u8, Failure> {
    let path = args.dir.join("study.toml");
    write(&path).map_err(|error| Failure::study("cannot write a study file".into(), &error))?;
    writeln!(out, "{}", path.display()).map_err(Failure::output)?;
    Ok(exit::OK)
}

fn template() -> String {
    let line = |key: &Key| {
        let default = if key.default.is_empty() { String::new() } else { format!(" [default: {}]", key.default) };
        let example = format!("# {} = {}", key.name, key.example);
        format!("{example:<COMMENT_COLUMN$}# {}{default}\n", key.help)
    };
    TEMPLATE.replace(VALUES, &Overrides::KEYS.iter().map(line).collect::<String>())
}

fn write(path: &std::path::Path) -> Result<(), StudyError> {
    let failed = |source: std::io::Error| match source.kind() {
        ErrorKind::AlreadyExists => StudyError::Exists { path: path.into() },
        _ => StudyError::Create { path: path.into(), source },
    };
    if let Some(folder) = path.parent() {
        let in_the_way = |source| StudyError::Create { path: folder.into(), source };
        fs::create_dir_all(folder).map_err(in_the_way)?;
    }
    // `create_new` checks and creates in one call, so a file that appears in between cannot be overwritten.
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
    file.write_all(template().as_bytes()).map_err(|source| StudyError::Write { path: path.into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use stepstone_study::{Study, StudyPaths};

    /// The example in a line `# key = value`; it must be valid as well.
    fn example(line: &str) -> Option<&str> {
        line.strip_prefix("# ").filter(|rest| rest.contains(" = "))
    }

    #[test]
    fn the_template_is_a_study_with_and_without_its_comments() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("study.toml");
        write(&path).expect("writes");
        Study::read(&path, &StudyPaths::default()).expect("a study");
        let template = template();
        let mut set = BTreeSet::new();
        // The values of a pair exclude each other, so each is tried without the other.
        for left_out in [["epochs", "warmup_ratio"], ["max_steps", "warmup_steps"]] {
            let lines = template.lines().map(|line| example(line).unwrap_or(line));
            let kept = |line: &&str| !left_out.iter().any(|key| line.starts_with(&format!("{key} =")));
            fs::write(&path, lines.filter(kept).collect::<Vec<_>>().join("\n")).expect("file");
            let study = Study::read(&path, &StudyPaths::default()).expect("a study");
            let layers = study.layers("rte", stepstone_train::Role::Target);
            let serde_json::Value::Object(values) = serde_json::json!(layers[0].overrides) else { panic!("an object") };
            set.extend(values.into_iter().filter(|(_, value)| !value.is_null()).map(|(key, _)| key));
        }
        let all = stepstone_train::Overrides::KEYS.iter().map(|key| key.name.to_owned());
        assert_eq!(set, all.collect::<BTreeSet<_>>(), "an example of every value");
        assert!(matches!(write(&path), Err(StudyError::Exists { .. })), "nothing is overwritten");
        let below = write(&path.join("study.toml")).expect_err("a file in the way").to_string();
        assert_eq!(below, format!("cannot create {}", path.display()));
    }
}
