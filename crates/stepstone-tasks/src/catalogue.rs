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

/// A name that no task has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no task `{name}`")]
pub struct UnknownTask {
    /// What was asked for.
    pub name: String,
    /// The task with the most similar name.
    pub nearest: Option<&'static str>,
}

impl UnknownTask {
    /// What to type instead.
    pub fn hint(&self) -> String {
        let mut all: Vec<&str> = tasks().map(|task| task.name).collect();
        all.sort_unstable();
        let all = all.join(", ");
        match self.nearest {
            Some(nearest) => format!("did you mean `{nearest}`? tasks: {all}"),
            None => format!("tasks: {all}"),
        }
    }
}

/// The task of this name.
///
/// # Errors
/// If there is none; the error names the nearest.
pub fn find(name: &str) -> Result<&'static Task, UnknownTask> {
    tasks().find(|task| task.name == name).ok_or_else(|| {
        let similarity = |task: &Task| strsim::jaro_winkler(&name.to_lowercase(), task.name);
        let nearest = tasks().max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
        let nearest = nearest.filter(|task| similarity(task) > 0.7).map(|task| task.name);
        UnknownTask { name: name.into(), nearest }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn an_unknown_name_is_answered_with_the_nearest() {
        for (name, want) in [("rte2", Some("rte")), ("SST2", Some("sst2")), ("mlni", Some("mnli")), ("zzz", None)] {
            assert_eq!(find(name).expect_err(name).nearest, want, "{name}");
        }
    }
}
