//! The catalogue: every built-in task, one row each, by family.

mod acceptability;
mod commonsense;
mod glue;
mod scitail;
mod superglue;

use crate::task::Task;

/// All built-in tasks.
pub fn tasks() -> impl Iterator<Item = &'static Task> {
    let families = [acceptability::TASKS, commonsense::TASKS, glue::TASKS, scitail::TASKS, superglue::TASKS];
    families.into_iter().flatten()
}

/// The error for a name that matches no task.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no task `{name}`")]
pub struct UnknownTask {
    /// The name that was looked up.
    pub name: String,
    /// The task with the most similar name.
    pub nearest: Option<&'static str>,
}

impl UnknownTask {
    /// What to type instead.
    pub fn hint(&self) -> String {
        let mut all: Vec<&str> = tasks().map(|task| task.name).collect();
        // The catalogue groups tasks by family; readers of a message look for a name.
        all.sort_unstable();
        let all = all.join(", ");
        match self.nearest {
            Some(nearest) => format!("did you mean `{nearest}`? tasks: {all}"),
            None => format!("tasks: {all}"),
        }
    }
}

/// Finds a task by its name, ignoring case, `-` and `_`, or by a folder name that only one task uses (`SST-2`,
/// `superglue_cb`).
///
/// # Errors
/// If no task matches; the error names the most similar one.
pub fn find(name: &str) -> Result<&'static Task, UnknownTask> {
    let wanted = plain(name);
    let named = || tasks().find(|task| plain(task.name) == wanted);
    let mut by_folder = tasks().filter(|task| task.files.folders.iter().any(|folder| plain(folder) == wanted));
    // The four acceptability probes share a folder, so its name is ambiguous.
    let only = by_folder.next().filter(|_| by_folder.next().is_none());
    // Names come first, so that a folder of another task can never hide a task's own name.
    named().or(only).ok_or_else(|| {
        // Jaro-Winkler gives weight to a shared beginning, such as that of `rte2` and `rte`.
        let similarity = |task: &Task| strsim::jaro_winkler(&wanted, &plain(task.name));
        let nearest = tasks().max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
        // Below 0.7 the names have little in common; a suggestion would mislead, so only the list is shown.
        let nearest = nearest.filter(|task| similarity(task) > 0.7).map(|task| task.name);
        UnknownTask { name: name.into(), nearest }
    })
}

/// Letters and digits of a name, in lower case.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn an_unknown_name_is_answered_with_the_nearest() {
        for (name, want) in [("rte2", Some("rte")), ("STS2", Some("sst2")), ("mlni", Some("mnli")), ("zzz", None)] {
            assert_eq!(find(name).expect_err(name).nearest, want, "{name}");
        }
    }

    #[test]
    fn a_name_is_found_in_any_case_with_any_separator_and_by_its_folder() {
        let table = [
            ("RTE", "rte"),
            ("SST-2", "sst2"),
            ("sst_2", "sst2"),
            ("CoLA", "cola"),
            ("superglue_cb", "cb"),
            ("CommonsenseQA", "commonsenseqa"),
            ("csqa", "commonsenseqa"),
            ("AJ_coord", "aj-coord"),
        ];
        for (name, want) in table {
            assert_eq!(find(name).map(|task| task.name), Ok(want), "{name}");
        }
        for task in tasks() {
            assert_eq!(find(task.name).map(|found| found.name), Ok(task.name), "its own name wins");
        }
        for name in ["aj", "", "-"] {
            assert!(find(name).is_err(), "`{name}` means no task, or several");
        }
    }
}
